# frozen_string_literal: true

# ruby-pg with its defaults: parameters, prepared statements, transactions, single-row mode, COPY with an encoder, LISTEN, pipelines,
# cancellation, large results. Threads side by side, more than there are server connections.

require 'pg'

CLIENTS = 8
TURNS = 25

def check(holds, what)
  raise what.to_s unless holds
end

def fails(kind)
  yield
rescue kind
  nil
else
  raise "no #{kind}"
end

# What Rails does with a connection: a type map, a statement's name for each text, a count of those it keeps.
def prepares(conn, me)
  conn.type_map_for_results = PG::BasicTypeMapForResults.new(conn)
  TURNS.times do |turn|
    name = "a#{turn % 7}"
    begin
      conn.exec_prepared(name, [turn])
    rescue PG::InvalidSqlStatementName
      conn.prepare(name, "SELECT #{me} + $1::int AS sum, #{turn % 7} AS slot")
    end
    row = conn.exec_prepared(name, [turn]).first
    check(row == { 'sum' => me + turn, 'slot' => turn % 7 }, row)
    row = conn.exec_params('SELECT $1::int AS me, $2::text AS turn', [me, turn]).first
    check(row == { 'me' => me, 'turn' => turn.to_s }, row)
  end
  check(conn.describe_prepared('a1').nfields == 2, 'fields')
  7.times { |slot| conn.exec("DEALLOCATE a#{slot}") }
  conn.type_map_for_results = PG::TypeMapAllStrings.new
end

def transactions(conn, me)
  TURNS.times do |turn|
    conn.transaction do
      conn.exec_params('INSERT INTO log VALUES ($1, $2)', [me, turn])
      found = conn.exec_params('SELECT count(*) FROM log WHERE owner = $1', [me]).getvalue(0, 0)
      check(found.to_i == turn + 1, "#{found} rows in turn #{turn}")
    end
    fails(ZeroDivisionError) do
      conn.transaction do
        conn.exec_params('INSERT INTO log VALUES ($1, $2)', [me, -turn])
        raise ZeroDivisionError
      end
    end
    fails(PG::DivisionByZero) { conn.exec('SELECT 1/0') }
  end
end

def reads(conn, me)
  conn.send_query_params('SELECT n, $1::int FROM generate_series(1, 400) n', [me])
  conn.set_single_row_mode
  seen = 0
  conn.get_result.stream_each_row { |n, owner| check(n.to_i == (seen += 1) && owner.to_i == me, [n, owner]) }
  check(seen == 400, "#{seen} rows")
  check(conn.exec('SELECT repeat($$x$$, 100) FROM generate_series(1, 3000)').ntuples == 3000, 'a large result')
end

def copies(conn, me)
  conn.exec("CREATE TABLE copied#{me} (n int, words text)")
  coder = PG::TextEncoder::CopyRow.new
  conn.copy_data("COPY copied#{me} FROM STDIN", coder) do
    500.times { |n| conn.put_copy_data([n, "of #{me}"]) }
  end
  rows = []
  conn.copy_data("COPY (SELECT * FROM copied#{me} ORDER BY n) TO STDOUT", PG::TextDecoder::CopyRow.new) do
    while (row = conn.get_copy_data)
      rows << row
    end
  end
  check(rows == Array.new(500) { |n| [n.to_s, "of #{me}"] }, 'what was copied')
  fails(PG::InvalidTextRepresentation) do
    conn.copy_data("COPY copied#{me} FROM STDIN", coder) { conn.put_copy_data(%w[x y]) }
  end
end

def pipelines(conn, me)
  conn.enter_pipeline_mode
  20.times { |n| conn.send_query_params('SELECT $1::int * $2::int', [me, n]) }
  conn.pipeline_sync
  20.times do |n|
    value = conn.get_result.getvalue(0, 0).to_i
    check(value == me * n, "#{value} for #{n}")
    check(conn.get_result.nil?, 'one result each')
  end
  check(conn.get_result.result_status == PG::PGRES_PIPELINE_SYNC, 'a sync')
  conn.exit_pipeline_mode
end

def cancels(conn)
  conn.send_query('SELECT pg_sleep(60)')
  sleep(0.1)
  conn.cancel
  fails(PG::QueryCanceled) { conn.get_last_result }
  conn.discard_results
  check(conn.exec('SELECT 1').getvalue(0, 0) == '1', 'after a cancel')
end

def life(me)
  conn = PG.connect(application_name: "ruby #{me}")
  [method(:prepares), method(:transactions), method(:reads), method(:copies)].each { |part| part.call(conn, me) }
  pipelines(conn, me) if conn.respond_to?(:enter_pipeline_mode)
  cancels(conn)
  check(conn.exec('SHOW application_name').getvalue(0, 0) == "ruby #{me}", 'the name')
  # What a pool does before it lends the connection again.
  conn.reset
  check(conn.exec('SHOW application_name').getvalue(0, 0) == "ruby #{me}", 'the name after a reset')
ensure
  conn&.close
end

conn = PG.connect
conn.exec('CREATE TABLE log (owner int, n int)')
threads = Array.new(CLIENTS) do |me|
  thread = Thread.new { life(me) }
  thread.report_on_exception = false
  thread
end
threads.each(&:join)
check(conn.exec('SELECT count(*) FROM log').getvalue(0, 0).to_i == CLIENTS * TURNS, 'rows')
conn.exec('LISTEN here')
other = PG.connect
other.exec("NOTIFY here, 'hello'")
other.close
heard = nil
conn.wait_for_notify(10) { |_channel, _pid, payload| heard = payload }
check(heard == 'hello', 'a notification')
conn.exec('UNLISTEN here')
conn.close
puts "ruby-pg #{PG::VERSION}", 'lived'
