# DBD::Pg with its defaults: statements prepared by the server, transactions, savepoints, COPY, LISTEN, cursors, arrays, large
# results, cancellation by a signal, metadata. Processes side by side, more than there are server connections.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types);

use constant { CLIENTS => 8, TURNS => 25 };

sub check { my ($holds, $what) = @_; die "$what\n" unless $holds }

sub connected {
    my (%more) = @_;
    # Place and user come from the environment, as libpq reads it.
    return DBI->connect('dbi:Pg:', '', '', { RaiseError => 1, PrintError => 0, AutoCommit => 1, %more });
}

sub fails {
    my ($dbh, $state, $sql) = @_;
    check(!eval { $dbh->do($sql); 1 }, "$sql did not fail");
    check($dbh->state eq $state, "$sql: " . $dbh->state);
}

sub prepares {
    my ($dbh, $me) = @_;
    my $sum = $dbh->prepare("SELECT ?::int + $me, ?::text");
    for my $turn (1 .. TURNS) {
        $sum->execute($turn, "of $me");
        my @row = $sum->fetchrow_array;
        check($row[0] == $me + $turn && $row[1] eq "of $me", "@row");
        my ($again) = $dbh->selectrow_array('SELECT ?::int * 2', undef, $turn);
        check($again == $turn * 2, "twice $turn is $again");
    }
    # Prepared at once, and by the name that it gets.
    my $now = $dbh->prepare('SELECT ?::int', { pg_prepare_now => 1 });
    check($now->{pg_prepare_name} ne '', 'a name');
    $now->execute($me);
    check($now->fetchall_arrayref->[0][0] == $me, 'prepared at once');
}

sub transactions {
    my ($dbh, $me) = @_;
    for my $turn (1 .. TURNS) {
        $dbh->begin_work;
        $dbh->do('INSERT INTO log VALUES (?, ?)', undef, $me, [ $turn, $me ]);
        $dbh->pg_savepoint('before');
        fails($dbh, '22012', 'SELECT 1/0');
        $dbh->pg_rollback_to('before');
        my ($tags) = $dbh->selectrow_array('SELECT tags FROM log WHERE owner = ? AND tags[1] = ?', undef, $me, $turn);
        check("@$tags" eq "$turn $me", "tags @$tags");
        $turn % 5 == 0 ? $dbh->rollback : $dbh->commit;
    }
    my ($rows) = $dbh->selectrow_array('SELECT count(*) FROM log WHERE owner = ?', undef, $me);
    check($rows == TURNS - int(TURNS / 5), "$rows rows");
}

sub copies {
    my ($dbh, $me) = @_;
    $dbh->do("CREATE TABLE copied$me (n int, words text)");
    $dbh->do("COPY copied$me FROM STDIN");
    $dbh->pg_putcopydata("$_\tof $me\n") for 1 .. 500;
    $dbh->pg_putcopyend;
    $dbh->do("COPY (SELECT * FROM copied$me ORDER BY n) TO STDOUT");
    my ($line, $count) = ('', 0);
    while ($dbh->pg_getcopydata($line) >= 0) {
        $count++;
        check($line eq "$count\tof $me\n", $line);
    }
    check($count == 500, "$count lines");
}

sub reads {
    my ($dbh, $me) = @_;
    $dbh->begin_work;
    $dbh->do("DECLARE here CURSOR FOR SELECT generate_series(1, 200), $me");
    my $seen = 0;
    while (1) {
        my $rows = $dbh->selectall_arrayref('FETCH 30 FROM here');
        last unless @$rows;
        check($_->[1] == $me, 'a row of mine') for @$rows;
        $seen += @$rows;
    }
    check($seen == 200, "$seen rows");
    $dbh->commit;
    my $large = $dbh->selectcol_arrayref('SELECT repeat(?, 100) FROM generate_series(1, 3000)', undef, $me);
    check(@$large == 3000 && $large->[2999] eq $me x 100, 'a large result');
}

sub sets {
    my ($dbh, $me) = @_;
    $dbh->do("SET work_mem = '" . ($me + 1) . "MB'");
    for (1 .. 10) {
        check($dbh->selectrow_array('SHOW work_mem') eq ($me + 1) . 'MB', 'work_mem');
    }
    my $async = $dbh->prepare('SELECT ?::int', { pg_async => DBD::Pg::PG_ASYNC() });
    $async->execute($me);
    $async->pg_result;
    check($async->fetchall_arrayref->[0][0] == $me, 'asked and answered later');
    $dbh->do('SELECT pg_sleep(60)', { pg_async => DBD::Pg::PG_ASYNC() });
    $dbh->pg_cancel;
    check($dbh->ping > 0, 'ping');
}

sub life {
    my ($me) = @_;
    my $dbh = connected();
    $_->($dbh, $me) for \&prepares, \&transactions, \&copies, \&reads, \&sets;
    $dbh->disconnect;
}

my $dbh = connected(AutoInactiveDestroy => 1);
$dbh->do('CREATE TABLE log (owner int, tags int[])');
my @children = map {
    my $me = $_;
    my $child = fork // die 'no fork';
    if ($child == 0) {
        my $lived = eval { life($me); 1 };
        print STDERR "client $me: $@" unless $lived;
        exit($lived ? 0 : 1);
    }
    $child;
} 1 .. CLIENTS;
my $failed = 0;
for my $child (@children) {
    waitpid($child, 0);
    $failed++ if $?;
}
check(!$failed, "$failed clients failed");
$dbh->do('LISTEN here');
connected()->do("NOTIFY here, 'hello'");
my $heard;
for (1 .. 100) {
    last if $heard = $dbh->pg_notifies;
    select(undef, undef, undef, 0.05);
}
check($heard && $heard->[2] eq 'hello', 'a notification');
$dbh->do('UNLISTEN here');
my @columns = map { $_->{COLUMN_NAME} } @{ $dbh->column_info(undef, 'public', 'log', '%')->fetchall_arrayref({}) };
check("@columns" eq 'owner tags', "@columns");
$dbh->disconnect;
print "DBD::Pg $DBD::Pg::VERSION\nlived\n";
