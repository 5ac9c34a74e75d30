//! A PostgreSQL that plays a script, for what a real one never says. A script that is not used up is an error: the test did
//! not reach what it is about.

use std::fmt;
use std::net::SocketAddr;

use bytes::BytesMut;
use pglanes_wire::frame;
use pglanes_wire::message::{self, TransactionStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::soon;

/// How a step makes its answer from the body of the message before.
type Answer = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

/// One thing that the fake does.
pub enum Step {
    /// Reads a request for TLS, to be answered by the script.
    Request,
    /// Reads a startup packet; a request for TLS before it is answered that there is none.
    Startup,
    /// Reads one message, which must be of this type.
    Read(u8),
    /// Says bytes.
    Say(Vec<u8>),
    /// Says what follows from the body of the message that was read last.
    Answer(Answer),
    /// Waits until the proxy closes the connection.
    UntilClosed,
    /// Closes the connection.
    Close,
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Request => formatter.write_str("Request"),
            Step::Startup => formatter.write_str("Startup"),
            Step::Read(tag) => write!(formatter, "Read({:?})", char::from(*tag)),
            Step::Say(bytes) => write!(formatter, "Say({} bytes)", bytes.len()),
            Step::Answer(_) => formatter.write_str("Answer"),
            Step::UntilClosed => formatter.write_str("UntilClosed"),
            Step::Close => formatter.write_str("Close"),
        }
    }
}

impl Step {
    /// The steps of a login that succeeds.
    pub fn login() -> Vec<Step> {
        let mut out = BytesMut::new();
        message::auth_ok(&mut out);
        message::parameter_status(&mut out, "server_version", "17.0");
        message::parameter_status(&mut out, "client_encoding", "UTF8");
        message::parameter_status(&mut out, "application_name", "pglanes");
        message::backend_key_data(&mut out, 1, &[1, 2, 3, 4]);
        message::ready_for_query(&mut out, TransactionStatus::Idle);
        vec![Step::Startup, Step::Say(out.to_vec())]
    }

    /// Says one message, of this type and body.
    pub fn message(tag: u8, body: &[u8]) -> Step {
        Step::Say(crate::Script::new().message(tag, body).bytes().to_vec())
    }
}

/// A fake server on a port of its own. It takes one connection per script, in order.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    playing: JoinHandle<()>,
}

impl Fake {
    /// Plays these scripts, one after the other, each on its own connection.
    pub async fn plays(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let playing = tokio::spawn(async move {
            for (number, script) in scripts.into_iter().enumerate() {
                let (stream, _) = listener.accept().await.expect("a connection");
                play(number, stream, script).await;
            }
        });
        Self { address, playing }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits for the end of the last script.
    ///
    /// # Panics
    /// If it does not come, or something else was said than the scripts expect.
    pub async fn used_up(self) {
        soon(self.playing).await.expect("the scripts are used up");
    }
}

async fn play(number: usize, mut stream: TcpStream, script: Vec<Step>) {
    let mut held = BytesMut::new();
    let mut last = Vec::new();
    for step in script {
        let shown = format!("connection {number}, {step:?}");
        match step {
            Step::Request => {
                let version = startup(&mut stream, &mut held, &shown).await;
                assert_eq!(version, SSL_REQUEST, "{shown}");
            }
            Step::Startup => {
                // It has no TLS, as it says to who asks first.
                while startup(&mut stream, &mut held, &shown).await == SSL_REQUEST {
                    soon(stream.write_all(b"N")).await.expect("a reader");
                }
            }
            Step::Read(tag) => {
                let header = loop {
                    match frame::peek(&held).expect("frames of the protocol") {
                        Some(header) => break header,
                        None => more(&mut stream, &mut held, &shown).await,
                    }
                };
                let whole = read_to(&mut stream, &mut held, header.total, &shown).await;
                last = whole[frame::HEADER..].to_vec();
                let said = String::from_utf8_lossy(&last);
                assert_eq!(char::from(header.tag), char::from(tag), "{shown}: {said}");
            }
            // The proxy may close before it has read all of what is wrong.
            Step::Say(bytes) => _ = soon(stream.write_all(&bytes)).await,
            Step::Answer(answer) => _ = soon(stream.write_all(&answer(&last))).await,
            Step::UntilClosed => {
                // A reset closes it as well.
                while soon(stream.read_buf(&mut held))
                    .await
                    .is_ok_and(|count| count > 0)
                {}
            }
            Step::Close => return,
        }
    }
}

/// What stands in the place of the version in SSLRequest.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// Reads a packet without a type, and gives the version in it.
async fn startup(stream: &mut TcpStream, held: &mut BytesMut, shown: &str) -> [u8; 4] {
    let length = read_to(stream, held, 4, shown).await;
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let body = read_to(stream, held, length as usize - 4, shown).await;
    [body[0], body[1], body[2], body[3]]
}

/// The next `count` bytes.
async fn read_to(
    stream: &mut TcpStream,
    held: &mut BytesMut,
    count: usize,
    shown: &str,
) -> BytesMut {
    while held.len() < count {
        more(stream, held, shown).await;
    }
    held.split_to(count)
}

async fn more(stream: &mut TcpStream, held: &mut BytesMut, shown: &str) {
    let read = soon(stream.read_buf(held))
        .await
        .expect("an open connection");
    assert!(read > 0, "{shown}: the proxy closed the connection instead");
}
