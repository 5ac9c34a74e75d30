//! What an operator asks of a running proxy, and what is seen of it.

use std::time::Duration;

use pglanes_proxy::events::EventKind;
use pglanes_proxy::view::{SessionState, SessionView};
use pglanes_proxy::{Action, ActionError, Ending, Proxy as Data, Scope};
use pglanes_tests::{Proxy, Raw, Target, connect, eventually, invariants, try_connect, value};

use super::{holder, lane, state};

const TWO_LANES: &str = "lanes: { work: { match: [{ application_name: work }], slots: { max: 4 } }, default: { slots: { max: 4 } } }";

async fn session(proxy: &Proxy, name: &str) -> Option<SessionView> {
    let (sessions, whole) = proxy.handle().sessions().await.unwrap();
    assert!(whole);
    sessions
        .into_iter()
        .find(|session| session.application_name == name)
}

async fn is_in(proxy: &Proxy, name: &str, wanted: SessionState) -> SessionView {
    eventually(&format!("{name} is {wanted:?}"), || async {
        session(proxy, name)
            .await
            .is_some_and(|session| session.state == wanted)
    })
    .await;
    session(proxy, name).await.unwrap()
}

async fn act(proxy: &Proxy, action: Action) {
    proxy.handle().act(action).await.unwrap();
}

#[tokio::test]
async fn a_paused_lane_waits_and_goes_on_in_its_order() {
    let proxy = Proxy::with(TWO_LANES).run().await;
    let client = connect(&proxy, "application_name=work").await;
    let other = connect(&proxy, "application_name=other").await;
    let scope = || Scope::Lane("work".to_owned());
    act(&proxy, Action::Pause(scope())).await;
    let again = proxy.handle().act(Action::Pause(scope())).await;
    assert_eq!(again, Err(ActionError::AlreadyPaused(scope())));
    let waiting = tokio::spawn(async move { value(&client, "SELECT 'through'").await });
    is_in(&proxy, "work", SessionState::Waiting).await;
    assert_eq!(proxy.view().await.operated.held, 1);
    assert_eq!(value(&other, "SELECT 'unmoved'").await, "unmoved");
    act(&proxy, Action::Resume(scope())).await;
    assert_eq!(waiting.await.unwrap(), "through");
    assert_eq!(proxy.view().await.operated, Default::default());
    drop(other);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_pause_takes_back_who_waits_for_a_slot_and_a_queue_of_any_length_goes_on() {
    let lanes = "lanes: { default: { slots: { max: 1 }, queue: { length: 2, timeout: 60s } } }";
    let proxy = Proxy::with(lanes).run().await;
    let running = holder(&proxy).await;
    running.batch_execute("SELECT 1").await.unwrap();
    let ask = |client: tokio_postgres::Client| {
        tokio::spawn(async move { value(&client, "SELECT 'through'").await })
    };
    let queued = ask(connect(&proxy, "application_name=queued").await);
    is_in(&proxy, "queued", SessionState::Waiting).await;
    let mut waiting = vec![queued];
    act(&proxy, Action::Pause(Scope::All)).await;
    for _ in 0..5 {
        waiting.push(ask(connect(&proxy, "application_name=late").await));
    }
    eventually("all are held", || async {
        proxy.view().await.operated.held == 6
    })
    .await;
    assert_eq!(lane(&proxy, "default").await.waiting, 0);
    // What runs ends, and its connection is closed: the server may be restarted now.
    assert_eq!(proxy.handle().in_use(Scope::All).await, Some(1));
    running.batch_execute("COMMIT").await.unwrap();
    eventually("nothing is connected", || async {
        proxy.view().await.servers == (0, 0, 0)
    })
    .await;
    act(&proxy, Action::Resume(Scope::All)).await;
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap(), "through");
    }
    drop(running);
    invariants(&proxy).await;
}

#[tokio::test]
async fn who_is_held_may_leave_and_be_cancelled() {
    let proxy = Proxy::with(TWO_LANES).run().await;
    let cancelled = connect(&proxy, "application_name=cancelled").await;
    let name = [("application_name", "leaving")];
    let (mut leaving, _) = Raw::login(&proxy, &name).await;
    act(&proxy, Action::Pause(Scope::All)).await;
    let cancelled = tokio::spawn(async move {
        let error = cancelled.batch_execute("SELECT 1").await.unwrap_err();
        (state(&error).map(str::to_owned), cancelled)
    });
    let mut query = bytes::BytesMut::new();
    pglanes_wire::message::query(&mut query, "SELECT 1");
    leaving.send(&query).await;
    let id = is_in(&proxy, "cancelled", SessionState::Waiting).await.id;
    is_in(&proxy, "leaving", SessionState::Waiting).await;
    act(&proxy, Action::CancelSession(id)).await;
    let (told, cancelled) = cancelled.await.unwrap();
    assert_eq!(told.as_deref(), Some("57014"));
    drop(leaving);
    eventually("nobody is held", || async {
        proxy.view().await.operated.held == 0
    })
    .await;
    act(&proxy, Action::Resume(Scope::All)).await;
    assert_eq!(value(&cancelled, "SELECT 'alive'").await, "alive");
    drop(cancelled);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_killed_session_ends_in_postgresqls_words_whatever_it_does() {
    let proxy = Proxy::with(TWO_LANES).run().await;
    let idle = connect(&proxy, "application_name=idle").await;
    let running = connect(&proxy, "application_name=running").await;
    let running = tokio::spawn(async move { running.batch_execute("SELECT pg_sleep(60)").await });
    for name in ["idle", "running"] {
        let wanted = match name {
            "idle" => SessionState::Idle,
            _ => SessionState::Active,
        };
        let id = is_in(&proxy, name, wanted).await.id;
        act(&proxy, Action::KillSession(id)).await;
        let again = proxy.handle().act(Action::CancelSession(id)).await;
        assert!(again.is_err() || name == "running");
        eventually("it is gone", || async {
            session(&proxy, name).await.is_none()
        })
        .await;
    }
    let told = running.await.unwrap().unwrap_err();
    assert_eq!(state(&told), Some("57P01"));
    assert!(idle.is_closed() || idle.batch_execute("SELECT 1").await.is_err());
    let nobody = proxy.handle().act(Action::KillSession(1)).await;
    assert_eq!(nobody, Err(ActionError::NoSuchSession(1)));
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_killed_database_loses_its_sessions_and_stays_paused() {
    let proxy = Proxy::with(TWO_LANES).run().await;
    let client = holder(&proxy).await;
    client.batch_execute("SELECT 1").await.unwrap();
    let database = || proxy.database().to_owned();
    act(&proxy, Action::KillDatabase(Some(database()))).await;
    assert!(client.batch_execute("SELECT 1").await.is_err());
    let operated = proxy.view().await.operated;
    assert_eq!(operated.paused_databases, [database()]);
    act(&proxy, Action::Resume(Scope::Database(database()))).await;
    let client = connect(&proxy, "").await;
    assert_eq!(value(&client, "SELECT 'back'").await, "back");
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_disabled_database_takes_no_new_client_and_keeps_those_inside() {
    let proxy = Proxy::with(TWO_LANES).run().await;
    let inside = connect(&proxy, "").await;
    act(&proxy, Action::Disable(proxy.database().to_owned())).await;
    let error = try_connect(&proxy, "").await.unwrap_err();
    assert_eq!(state(&error), Some("3D000"));
    assert_eq!(value(&inside, "SELECT 'inside'").await, "inside");
    act(&proxy, Action::Enable(proxy.database().to_owned())).await;
    drop(connect(&proxy, "").await);
    drop(inside);
    invariants(&proxy).await;
}

#[tokio::test]
async fn reconnecting_replaces_connections_between_transactions() {
    let proxy = Proxy::with_slots(1).run().await;
    let client = holder(&proxy).await;
    let before = value(&client, "SELECT pg_backend_pid()").await;
    act(&proxy, Action::Reconnect(Scope::All)).await;
    assert_eq!(value(&client, "SELECT pg_backend_pid()").await, before);
    client.batch_execute("COMMIT").await.unwrap();
    assert_ne!(value(&client, "SELECT pg_backend_pid()").await, before);
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn a_value_is_set_at_once_and_forgotten_by_the_next_reload() {
    let proxy = Proxy::with(TWO_LANES).run().await;
    let set = |key: &str, value: &str| {
        let (key, value) = (key.to_owned(), value.to_owned());
        proxy.handle().act(Action::Set { key, value })
    };
    set("lanes.work.slots.max", "2").await.unwrap();
    assert_eq!(lane(&proxy, "work").await.max, 2);
    let refused = set("lanes.work.slots.max", "11").await.unwrap_err();
    assert!(refused.to_string().contains("above the 10 `slots`"));
    assert_eq!(refused.sqlstate(), "22023");
    let said = proxy.view().await.operated.set;
    assert_eq!(said, [("lanes.work.slots.max".into(), "2".into())]);
    proxy.reload(TWO_LANES).await.unwrap();
    assert_eq!(lane(&proxy, "work").await.max, 4);
    let events = proxy.handle().events().since(0).events;
    let forgotten = EventKind::Reloaded {
        forgotten: vec!["lanes.work.slots.max = 2".into()],
    };
    assert!(events.iter().any(|event| event.kind == forgotten));
    invariants(&proxy).await;
}

#[tokio::test]
async fn sessions_and_servers_are_seen_as_they_are() {
    let proxy = Proxy::with(TWO_LANES).run().await;
    let client = connect(&proxy, "application_name=work").await;
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let seen = is_in(&proxy, "work", SessionState::IdleInTransaction).await;
    assert_eq!((seen.lane_name.as_str(), seen.rule), ("work", Some(0)));
    assert_eq!(seen.database, proxy.database());
    assert!(seen.bytes_in > 0 && seen.bytes_out > 0 && seen.port > 0);
    let servers = proxy.handle().servers().await.unwrap();
    let linked = servers.iter().find(|server| Some(server.id) == seen.server);
    let linked = linked.unwrap();
    assert_eq!(linked.session, Some(seen.id));
    let backend = value(&client, "SELECT pg_backend_pid()").await;
    assert_eq!(linked.backend.to_string(), backend);
    client.batch_execute("COMMIT; LISTEN a").await.unwrap();
    let pinned = is_in(&proxy, "work", SessionState::Pinned).await;
    assert_eq!(pinned.pins, ["listen"]);
    client.batch_execute("UNLISTEN *").await.unwrap();
    let idle = is_in(&proxy, "work", SessionState::Idle).await;
    assert!(idle.pins.is_empty() && idle.server.is_none());
    assert_eq!(idle.transactions, 2);
    let pools = proxy.handle().pools().await.unwrap();
    let transactions: u64 = pools.iter().map(|pool| pool.transactions).sum();
    assert!(transactions >= 2);
    let events = proxy.handle().events().since(0).events;
    let pin = events.iter().find(|event| event.kind.label() == "pinned");
    assert_eq!(pin.and_then(|event| event.kind.lane()), Some("work"));
    drop(client);
    invariants(&proxy).await;
}

#[tokio::test]
async fn throttles_that_begin_and_end_are_events() {
    let lanes = "lanes: { work: { match: [{ application_name: work }] }, default: {} }\n\
        throttles: [{ name: yields, while: { lane: work, is: connected }, lane: default, slots: 1 }]";
    let proxy = Proxy::with(lanes).run().await;
    let client = connect(&proxy, "application_name=work").await;
    let labels = || {
        let events = proxy.handle().events().since(0).events;
        events
            .iter()
            .map(|event| event.kind.label())
            .collect::<Vec<_>>()
    };
    eventually("the beginning is seen", || async {
        labels().contains(&"throttle_began")
    })
    .await;
    drop(client);
    eventually("the end is seen", || async {
        labels().contains(&"throttle_ended")
    })
    .await;
    invariants(&proxy).await;
}

#[tokio::test]
async fn an_end_that_waits_for_clients_comes_when_the_last_has_left() {
    let pg = pglanes_tests::Pg::fresh().await;
    let config = Proxy::with(TWO_LANES).config(pg.server().port());
    let data = Data::start(config).unwrap();
    let parameters = format!(
        "host=127.0.0.1 port={} user=postgres dbname={}",
        data.addresses()[0].port(),
        pg.database()
    );
    let connected = tokio_postgres::connect(&parameters, tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    let connection = tokio::spawn(connection);
    data.handle().end(Ending::Clients).await;
    assert_eq!(value(&client, "SELECT 'still here'").await, "still here");
    let newcomer = tokio_postgres::connect(&parameters, tokio_postgres::NoTls).await;
    assert!(newcomer.is_err());
    drop(client);
    connection.await.unwrap().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), data.handle().ended());
    ended.await.unwrap();
}
