"""Django's ORM with its defaults and as its servers run: a connection for each request, kept ones, and its pool. Migrations, savepoints,
locks, JSON, server-side cursors of `iterator()`, introspection."""

import decimal
import os
import sys

import django
from django.conf import settings

from together import together

CLIENTS = 8
TURNS = 8


def database(**more) -> dict:
    names = {"NAME": "PGDATABASE", "USER": "PGUSER", "HOST": "PGHOST", "PORT": "PGPORT"}
    return {"ENGINE": "django.db.backends.postgresql", **{key: os.environ[name] for key, name in names.items()}, **more}


settings.configure(
    DATABASES={
        "default": database(),
        "kept": database(CONN_MAX_AGE=None),
        "pooled": database(OPTIONS={"pool": {"min_size": 1, "max_size": 6, "timeout": 60}}),
        # What psycopg's documentation recommends to those who like parameters bound by the server.
        "bound": database(OPTIONS={"server_side_binding": True}, CONN_MAX_AGE=None),
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    TIME_ZONE="Asia/Tokyo",
)
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402 (they need the settings)
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connections, models, transaction  # noqa: E402
from django.db.models import Avg, Count, F, Q, Sum  # noqa: E402
from django.utils import timezone  # noqa: E402


class Entry(models.Model):
    owner = models.IntegerField(db_index=True)
    name = models.CharField(max_length=50, unique=True)
    facts = models.JSONField(default=dict)
    worth = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    seen = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "entries"


def request(using: str, me: int, turn: int) -> None:
    """What a view does with its connection."""
    entries = Entry.objects.using(using)
    prefix = f"{using}/{me}"
    with transaction.atomic(using=using):
        entry = entries.create(owner=me, name=f"{prefix}/{turn}", facts={"turn": turn, "deep": {"me": me}})
        try:
            with transaction.atomic(using=using):
                entries.create(owner=me, name=entry.name)
        except IntegrityError:
            pass
        else:
            raise AssertionError("a second row of one name was taken")
        entries.bulk_create([Entry(owner=me, name=f"{prefix}/{turn}/{n}", worth=decimal.Decimal(n)) for n in range(20)])
    entry = entries.get(name=f"{prefix}/{turn}")
    assert entry.facts == {"turn": turn, "deep": {"me": me}}, entry.facts
    assert entries.filter(facts__deep__me=me, facts__turn=turn, name__startswith=prefix).count() == 1
    assert abs((timezone.now() - entry.seen).total_seconds()) < 600
    of_turn = entries.filter(name__startswith=f"{prefix}/{turn}/")
    assert of_turn.aggregate(all=Sum("worth"), mean=Avg("worth")) == {"all": 190, "mean": decimal.Decimal("9.5")}
    with transaction.atomic(using=using):
        locked = entries.select_for_update().get(pk=entry.pk)
        locked.worth = F("worth") + 1
        locked.save()
    entry.refresh_from_db()
    assert entry.worth == 1
    # A cursor of the server's; outside a transaction it is one WITH HOLD.
    assert [found.owner for found in of_turn.order_by("id").iterator(chunk_size=7)] == [me] * 20
    assert of_turn.filter(Q(worth__lt=5) | Q(worth=19)).update(worth=F("worth") * 2) == 6
    made, is_new = entries.get_or_create(name=f"{prefix}/once", defaults={"owner": me})
    assert made.owner == me and is_new == (turn == 0)
    with connections[using].cursor() as cursor:
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() == ("UTC",)


def rolled_back(using: str, me: int) -> None:
    class Undone(Exception):
        pass

    try:
        with transaction.atomic(using=using):
            Entry.objects.using(using).create(owner=me, name=f"undone {using} {me}")
            raise Undone
    except Undone:
        pass
    assert not Entry.objects.using(using).filter(name=f"undone {using} {me}").exists()


def life(using: str, me: int) -> None:
    for turn in range(TURNS):
        request(using, me, turn)
        if using != "kept" and using != "bound":
            connections[using].close()
    rolled_back(using, me)
    connections[using].close()


call_command("migrate", verbosity=0)
call_command("migrate", "auth", "zero", verbosity=0)
call_command("migrate", verbosity=0)
with connections["default"].schema_editor() as editor:
    editor.create_model(Entry)
for using in settings.DATABASES:
    together(lambda me: life(using, me), CLIENTS)
    mine = Entry.objects.filter(name__startswith=f"{using}/")
    counts = dict(mine.values_list("owner").annotate(rows=Count("id")))
    assert counts == {me: TURNS * 21 + 1 for me in range(CLIENTS)}, counts
connections["pooled"].close_pool()

group = Group.objects.create(name="all")
group.permissions.set(Permission.objects.all())
user = User.objects.create_user("somebody", password="not a secret")
user.groups.add(group)
assert user.has_perm("auth.add_user")
assert User.objects.prefetch_related("groups__permissions").get().groups.first().permissions.count() > 10
call_command("inspectdb", stdout=open(os.devnull, "w"), verbosity=0)
call_command("flush", interactive=False, verbosity=0)
assert not User.objects.exists()
with connections["default"].schema_editor() as editor:
    editor.add_index(Entry, models.Index(fields=["owner", "-worth"], name="by_worth"))
    editor.delete_model(Entry)
connections.close_all()
print("lived")
sys.stdout.flush()
