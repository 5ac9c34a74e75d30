//! One client of the console, for pgwire.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::{Sink, SinkExt, StreamExt, stream};
use pglanes_config::ClientAddress;
use pglanes_proxy::{ConsoleConnection, Handle, Proof, Role, Visitor};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{
    ClientInfo, ClientPortalStore, DefaultClient, NoopHandler, PgWireConnectionState, Type,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::extendedquery::Parse;
use pgwire::messages::response::NoticeResponse;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio_util::codec::Framed;

use super::Console;
use super::carry_out::{Operator, Refusal};
use super::command::{Command, Probed, Show};
use super::parse;
use super::show::{NoAnswer, Source, columns};
use super::stream::Limited;
use super::table::{Column, Kind, Row, Value, row};

/// How long a client may say nothing.
const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 3600);
/// Statements that a client may prepare in all: pgwire keeps them.
const MOST_PARSED: usize = 100_000;
/// What the console says it is.
const SERVER_VERSION: &str = concat!("1.25.0/pglanes ", env!("CARGO_PKG_VERSION"));

const HELP: &str = "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|POOLS EXTENDED|CLIENTS|SERVERS|USERS|VERSION\n\
    \tSHOW PEERS|PEER_POOLS\n\
    \tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE\n\
    \tSHOW DNS_HOSTS|DNS_ZONES\n\
    \tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS\n\
    \tSHOW LANES|QUEUES|THROTTLES|LEASES|RULES|PINNED|ALIASES|EVENTS|BASELINES|RUNS\n\
    \tSET key = arg\n\
    \tSET LANE <lane> key = arg\n\
    \tRELOAD\n\
    \tPAUSE [<db>] | PAUSE LANE <lane>\n\
    \tRESUME [<db>] | RESUME LANE <lane>\n\
    \tDISABLE <db>\n\
    \tENABLE <db>\n\
    \tRECONNECT [<db>] | RECONNECT LANE <lane>\n\
    \tKILL [<db>]\n\
    \tKILL_CLIENT <client_id>\n\
    \tCANCEL <client_id>\n\
    \tLEASE <lane> [<time>]\n\
    \tRELEASE <lease> | <lane>\n\
    \tSHUTDOWN\n\
    \tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS\n\
    \tWAIT_CLOSE [<db>]";

/// Serves a client until it leaves, or the proxy ends.
pub(super) async fn serve(visitor: Visitor, handle: Handle, console: Arc<Console>) {
    let Visitor {
        user,
        role,
        proof,
        database,
        application_name,
        address,
        port,
        cancelled,
        stream,
    } = visitor;
    let ip = match address {
        ClientAddress::Tcp(address) => address,
        ClientAddress::Local => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    tracing::info!(user, ?role, %address, application_name, "a client of the console");
    let connection = match stream.arrive() {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(%error, "a client of the console was lost");
            return;
        }
    };
    let session = Arc::new(Session {
        handle: handle.clone(),
        console,
        user,
        role,
        proof,
        database,
        cancelled,
        parsed: AtomicUsize::new(0),
    });
    tokio::select! {
        () = converse(connection, SocketAddr::new(ip, port), session) => {}
        () = handle.ended() => {}
    }
}

async fn converse(connection: ConsoleConnection, address: SocketAddr, session: Arc<Session>) {
    let mut client = DefaultClient::new(address, false);
    client.set_state(PgWireConnectionState::ReadyForQuery);
    let codec = PgWireMessageServerCodec::new(client);
    let mut socket = Framed::new(Limited::new(connection), codec);
    let noop = Arc::new(NoopHandler);
    loop {
        let next = tokio::time::timeout(LONGEST_SILENCE, socket.next()).await;
        let Ok(Some(Ok(message))) = next else { return };
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return;
        }
        let extended = message.is_extended_query();
        let done = process_message(
            message,
            &mut socket,
            Arc::clone(&noop),
            Arc::clone(&session),
            Arc::clone(&session),
            Arc::clone(&noop),
            Arc::clone(&noop),
        )
        .await;
        if let Err(error) = done {
            let fatal = error.is_fatal();
            if process_error(&mut socket, error, extended).await.is_err() || fatal {
                return;
            }
        }
    }
}

/// Who says what.
pub(super) struct Session {
    handle: Handle,
    console: Arc<Console>,
    user: String,
    role: Role,
    proof: Proof,
    database: String,
    cancelled: Arc<tokio::sync::Notify>,
    parsed: AtomicUsize,
}

fn error(sqlstate: &str, message: impl Into<String>) -> PgWireError {
    let info = ErrorInfo::new("ERROR".to_owned(), sqlstate.to_owned(), message.into());
    PgWireError::UserError(Box::new(info))
}

impl From<Refusal> for PgWireError {
    fn from(refusal: Refusal) -> Self {
        error(refusal.sqlstate, refusal.message)
    }
}

fn fields(columns: &[Column], format: impl Fn(usize) -> FieldFormat) -> Vec<FieldInfo> {
    let fields = columns.iter().enumerate();
    fields
        .map(|(index, (name, kind))| {
            let (of, size) = match kind {
                Kind::Text => (Type::TEXT, -1),
                Kind::Int => (Type::INT4, 4),
                Kind::Big => (Type::INT8, 8),
            };
            FieldInfo::new((*name).to_owned(), None, None, of, format(index)).with_type_size(size)
        })
        .collect()
}

/// The columns that a command answers with; none if it only does something.
fn columns_of(command: &Command) -> Vec<Column> {
    match command {
        Command::Show(show) => columns(*show).to_vec(),
        Command::Probe { column, value } => {
            let kind = match value {
                Probed::Number(_) => Kind::Int,
                Probed::Fixed(_) | Probed::Version | Probed::Database | Probed::User => Kind::Text,
            };
            vec![(*column, kind)]
        }
        _ => Vec::new(),
    }
}

fn answer(
    columns: &[Column],
    rows: Vec<Row>,
    format: impl Fn(usize) -> FieldFormat,
    tag: &str,
) -> PgWireResult<Response> {
    let fields = Arc::new(fields(columns, format));
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let mut encoded = Vec::with_capacity(rows.len());
    for row in rows {
        debug_assert_eq!(row.len(), columns.len(), "{row:?}");
        for (value, (_, kind)) in row.into_iter().zip(columns) {
            match (kind, value) {
                (Kind::Text, Value::Text(text)) => encoder.encode_field(&Some(text))?,
                (Kind::Text, Value::Number(number)) => {
                    encoder.encode_field(&Some(number.to_string()))?;
                }
                (Kind::Text, Value::Null) => encoder.encode_field(&None::<String>)?,
                (Kind::Int, Value::Number(number)) => {
                    let most = i64::from(i32::MAX);
                    // In bounds after the clamp.
                    encoder.encode_field(&Some(number.clamp(-most, most) as i32))?;
                }
                (Kind::Int, _) => encoder.encode_field(&None::<i32>)?,
                (Kind::Big, Value::Number(number)) => encoder.encode_field(&Some(number))?,
                (Kind::Big, _) => encoder.encode_field(&None::<i64>)?,
            }
        }
        encoded.push(Ok(encoder.take_row()));
    }
    let mut response = QueryResponse::new(fields, stream::iter(encoded));
    response.set_command_tag(tag);
    Ok(Response::Query(response))
}

/// Says something beside the answer.
async fn notice<C>(client: &mut C, message: &str, detail: Option<&str>) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let mut fields = vec![
        (b'S', "NOTICE".to_owned()),
        (b'V', "NOTICE".to_owned()),
        (b'C', "00000".to_owned()),
        (b'M', message.to_owned()),
    ];
    fields.extend(detail.map(|detail| (b'D', detail.to_owned())));
    let notice = NoticeResponse::new(fields);
    client
        .feed(PgWireBackendMessage::NoticeResponse(notice))
        .await?;
    Ok(())
}

impl Session {
    /// The one place where a command meets what its user may do.
    fn authorise(&self, command: &Command) -> PgWireResult<()> {
        if self.role >= command.needs() {
            return Ok(());
        }
        tracing::warn!(
            user = self.user,
            command = command.shown(),
            "console: not allowed"
        );
        let message = match self.proof {
            Proof::Given => "admin access needed",
            Proof::None => {
                "admin access needed: who is only taken at their word (trust) may look; prove it by a password, through a unix socket, or come as user pglanes with the admin token"
            }
        };
        Err(error("42501", message))
    }

    async fn run<C>(
        &self,
        client: &mut C,
        command: &Command,
        format: impl Fn(usize) -> FieldFormat,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.authorise(command)?;
        let columns = columns_of(command);
        match command {
            Command::Show(Show::Help) => {
                notice(client, "Console usage", Some(HELP)).await?;
                Ok(Response::Execution(Tag::new("SHOW")))
            }
            Command::Show(show) => {
                let source = Source {
                    handle: &self.handle,
                    averages: &self.console.averages,
                    operations: &self.console.operations,
                    now: SystemTime::now(),
                };
                let (rows, whole) = source.rows(*show).await.map_err(|none| match none {
                    NoAnswer::Ended => error("57P01", "the proxy has ended"),
                    NoAnswer::Refused(why) => error("0A000", why),
                    NoAnswer::Failed(why) => error("58030", &why),
                })?;
                if !whole {
                    let most = pglanes_proxy::MOST_SESSIONS_SHOWN;
                    let text = format!("there are more clients than the {most} that are shown");
                    notice(client, &text, None).await?;
                }
                answer(&columns, rows, format, "SHOW")
            }
            Command::Probe { value, .. } => {
                let row = match value {
                    Probed::Fixed(text) => row![*text],
                    Probed::Number(number) => row![*number],
                    Probed::Version => row![SERVER_VERSION],
                    Probed::Database => row![self.database.as_str()],
                    Probed::User => row![self.user.as_str()],
                };
                answer(&columns, vec![row], format, "SELECT")
            }
            Command::Ignored(tag) => Ok(Response::Execution(Tag::new(tag))),
            Command::Begin => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
            Command::End(tag) => Ok(Response::TransactionEnd(Tag::new(tag))),
            other => {
                let operator = Operator {
                    handle: &self.handle,
                    console: &self.console,
                    user: &self.user,
                    cancelled: &self.cancelled,
                };
                if let Some(said) = operator.carry_out(other).await? {
                    notice(client, &said, None).await?;
                }
                Ok(Response::Execution(Tag::new(other.tag())))
            }
        }
    }
}

fn parsed(text: &str) -> PgWireResult<Vec<Command>> {
    parse::commands(text).map_err(|problem| error("42601", problem.to_string()))
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let commands = parsed(query)?;
        if commands.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        let mut responses = Vec::with_capacity(commands.len());
        for command in &commands {
            responses.push(self.run(client, command, |_| FieldFormat::Text).await?);
        }
        Ok(responses)
    }
}

/// Statements are commands.
pub(super) struct Parser;

#[async_trait]
impl QueryParser for Parser {
    type Statement = Command;

    async fn parse_sql<C>(
        &self,
        _: &C,
        sql: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Command>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut commands = parsed(sql)?;
        match commands.len() {
            0 | 1 => Ok(commands.pop()),
            _ => Err(error(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )),
        }
    }

    fn get_parameter_types(&self, _: &Command) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(
        &self,
        command: &Command,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let of = |index| format.map_or(FieldFormat::Text, |format| format.format_for(index));
        Ok(fields(&columns_of(command), of))
    }
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Command;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::new(Parser)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Command>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        use pgwire::api::DEFAULT_NAME;
        use pgwire::api::stmt::StoredStatement;
        use pgwire::messages::extendedquery::ParseComplete;
        let named = message.name.is_some();
        if named && self.parsed.fetch_add(1, Ordering::Relaxed) >= MOST_PARSED {
            return Err(error("54000", "too many prepared statements: connect anew"));
        }
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME).to_owned();
        match StoredStatement::parse(client, &message, self.query_parser()).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        let complete = PgWireBackendMessage::ParseComplete(ParseComplete::new());
        client.feed(complete).await?;
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Command>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Command>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let format = |index| portal.result_column_format.format_for(index);
        self.run(client, &portal.statement.statement, format).await
    }
}
