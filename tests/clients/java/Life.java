import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/**
 * pgJDBC with its defaults: statements prepared from the fifth execution on, fetch size, batches, rewritten batches, generated keys,
 * savepoints, COPY, metadata, cancel, notifications, query timeout. More threads than there are server connections.
 */
public class Life {
    static final int CLIENTS = 8;
    static final int TURNS = 12;

    static Connection connect(String... properties) throws SQLException {
        Properties all = new Properties();
        all.setProperty("user", System.getenv("PGUSER"));
        for (int n = 0; n < properties.length; n += 2) all.setProperty(properties[n], properties[n + 1]);
        String place = System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection("jdbc:postgresql://" + place, all);
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static String one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            check(rows.next(), sql);
            return rows.getString(1);
        }
    }

    static void fails(String state, Callable<?> what) throws Exception {
        try {
            what.call();
        } catch (SQLException failure) {
            check(state.equals(failure.getSQLState()), failure.toString());
            return;
        }
        throw new AssertionError("no error " + state);
    }

    /** One statement many times, prepared by the server from the fifth time on; binary transfer from then. */
    static void prepares(Connection connection, int me) throws SQLException {
        String sql = "SELECT ? + " + me + ", ?, now(), ?::float8";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int turn = 0; turn < TURNS; turn++) {
                statement.setInt(1, turn);
                statement.setString(2, "of " + me);
                statement.setDouble(3, turn / 4.0);
                try (ResultSet rows = statement.executeQuery()) {
                    check(rows.next() && rows.getInt(1) == me + turn, "a sum");
                    check(rows.getString(2).equals("of " + me) && rows.getDouble(4) == turn / 4.0, "what was sent");
                    Timestamp now = rows.getTimestamp(3);
                    check(Math.abs(now.getTime() - System.currentTimeMillis()) < 600_000, "the time: " + now);
                }
            }
        }
    }

    /** A result fetched in pieces, which needs the transaction to stay open, and other statements in between. */
    static void fetches(Connection connection, int me) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("SELECT n, ?::int FROM generate_series(1, 333) n")) {
            statement.setFetchSize(50);
            statement.setInt(1, me);
            try (ResultSet rows = statement.executeQuery()) {
                for (int n = 1; n <= 333; n++) {
                    check(rows.next() && rows.getInt(1) == n && rows.getInt(2) == me, "row " + n);
                    if (n % 100 == 0) check(one(connection, "SELECT " + n).equals("" + n), "a statement between");
                }
                check(!rows.next(), "the end");
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void batches(Connection connection, int me) throws Exception {
        connection.setAutoCommit(false);
        try (PreparedStatement insert = connection.prepareStatement(
                "INSERT INTO log (owner, words) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int n = 0; n < 300; n++) {
                insert.setInt(1, me);
                insert.setString(2, "words " + n);
                insert.addBatch();
            }
            int[] counts = insert.executeBatch();
            check(counts.length == 300 && Arrays.stream(counts).allMatch(count -> count == 1), "counts of a batch");
            int keys = 0;
            try (ResultSet rows = insert.getGeneratedKeys()) {
                while (rows.next()) keys++;
            }
            check(keys == 300, keys + " keys");
        }
        Savepoint before = connection.setSavepoint();
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO log (id, owner) VALUES (?, ?)")) {
            for (int id : new int[] {-1 - me, -1 - me}) {
                insert.setInt(1, id);
                insert.setInt(2, me);
                insert.addBatch();
            }
            insert.executeBatch();
            throw new AssertionError("two rows with one key were taken");
        } catch (BatchUpdateException failure) {
            check("23505".equals(failure.getSQLState()), failure.toString());
        }
        connection.rollback(before);
        connection.commit();
        connection.setAutoCommit(true);
        check(one(connection, "SELECT count(*) FROM log WHERE owner = " + me).equals("300"), "rows of " + me);
    }

    static void copies(Connection connection, int me) throws Exception {
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder text = new StringBuilder();
        for (int n = 0; n < 500; n++) text.append(n).append("\tof ").append(me).append('\n');
        check(copy.copyIn("COPY copied" + me + " FROM STDIN", new StringReader(text.toString())) == 500, "copied in");
        StringWriter out = new StringWriter();
        check(copy.copyOut("COPY (SELECT * FROM copied" + me + " ORDER BY 1) TO STDOUT", out) == 500, "copied out");
        check(out.toString().equals(text.toString()), "what was copied");
        fails("22P02", () -> copy.copyIn("COPY copied" + me + " FROM STDIN", new StringReader("x\ty\n")));
        check(one(connection, "SELECT 1").equals("1"), "after a failed COPY");
    }

    static void cancels(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.executeQuery("SELECT pg_sleep(60)"));
            statement.setQueryTimeout(0);
        }
        check(one(connection, "SELECT 1").equals("1"), "after a timeout");
    }

    static Void life(int me) throws Exception {
        try (Connection connection = connect("ApplicationName", "jdbc " + me)) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE copied" + me + " (n int, words text)");
            }
            for (int turn = 0; turn < 3; turn++) {
                prepares(connection, me);
                fetches(connection, me);
                fails("22012", () -> one(connection, "SELECT 1/0"));
                check(one(connection, "SHOW application_name").equals("jdbc " + me), "the name");
                connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                check(one(connection, "SHOW transaction_isolation").equals("serializable"), "the isolation");
                connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
                connection.setReadOnly(true);
                connection.setAutoCommit(false);
                fails("25006", () -> one(connection, "CREATE TABLE refused ()"));
                connection.rollback();
                connection.setAutoCommit(true);
                connection.setReadOnly(false);
                connection.setSchema("pg_catalog");
                check(connection.getSchema().equals("pg_catalog"), "the schema");
                connection.setSchema("public");
                check(connection.isValid(10), "valid");
            }
            batches(connection, me);
            copies(connection, me);
            cancels(connection);
        }
        // What a framework sets: prepared at once, batches as one INSERT, a savepoint before each statement.
        try (Connection connection = connect("prepareThreshold", "1", "reWriteBatchedInserts", "true", "autosave", "always",
                "defaultRowFetchSize", "20", "options", "-c statement_timeout=60s", "currentSchema", "public,pg_catalog")) {
            prepares(connection, me);
            fetches(connection, me);
            check(one(connection, "SHOW statement_timeout").equals("1min"), "the options");
            connection.setAutoCommit(false);
            fails("42P01", () -> one(connection, "SELECT * FROM nowhere"));
            check(one(connection, "SELECT " + me).equals("" + me), "its savepoint was not undone");
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO log (owner, words) VALUES (?, ?)")) {
                for (int n = 0; n < 200; n++) {
                    insert.setInt(1, CLIENTS + me);
                    insert.setString(2, "rewritten");
                    insert.addBatch();
                }
                insert.executeBatch();
            }
            connection.commit();
            check(one(connection, "SELECT count(*) FROM log WHERE owner = " + (CLIENTS + me)).equals("200"), "rewritten rows");
            connection.commit();
        }
        return null;
    }

    static void describes(Connection connection) throws SQLException {
        List<String> columns = new ArrayList<>();
        try (ResultSet rows = connection.getMetaData().getColumns(null, "public", "log", null)) {
            while (rows.next()) columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
        }
        check(columns.equals(List.of("id bigserial", "owner int4", "words text")), columns.toString());
        try (ResultSet rows = connection.getMetaData().getPrimaryKeys(null, "public", "log")) {
            check(rows.next() && rows.getString("COLUMN_NAME").equals("id"), "the key");
        }
    }

    static void listens(Connection listener, Connection other) throws SQLException {
        try (Statement statement = listener.createStatement()) {
            statement.execute("LISTEN here");
        }
        one(other, "SELECT pg_notify('here', 'hello')");
        var heard = listener.unwrap(PGConnection.class).getNotifications(10_000);
        check(heard != null && heard[0].getParameter().equals("hello"), "a notification");
        try (Statement statement = listener.createStatement()) {
            statement.execute("UNLISTEN here");
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE log (id bigserial PRIMARY KEY, owner int, words text)");
        }
        ExecutorService threads = Executors.newFixedThreadPool(CLIENTS, work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        List<Future<Void>> lives = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            int me = n;
            lives.add(threads.submit(() -> life(me)));
        }
        for (Future<Void> life : lives) life.get();
        threads.shutdown();
        try (Connection one = connect(); Connection other = connect()) {
            describes(one);
            listens(one, other);
        }
        System.out.println("pgJDBC " + org.postgresql.Driver.class.getPackage().getImplementationVersion());
        System.out.println("lived");
    }
}
