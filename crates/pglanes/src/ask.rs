//! What a command asks of the running proxy, over its HTTP address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use pglanes_auth::Secret;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a question may take, connecting included.
pub(crate) const CLOSE_TO_NOW: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const MAXIMUM_ANSWER: u64 = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// Nobody is there, or the connection broke.
    #[error("no proxy answers at http://{address} (lanes.yaml: http): {cause}")]
    Unreachable {
        /// Where it was looked for.
        address: SocketAddr,
        /// The operating system's words.
        cause: String,
    },
    /// Somebody answers, and it is no proxy of ours.
    #[error("what answers at http://{0} is no pglanes")]
    Strange(SocketAddr),
}

/// Asks, and gives the status and what was answered.
///
/// # Errors
/// [`AskError`].
pub(crate) async fn ask(
    address: SocketAddr,
    line: &str,
    token: Option<&Secret<String>>,
    body: &str,
) -> Result<(u16, Value), AskError> {
    let address = reachable(address);
    let unreachable = |cause: String| AskError::Unreachable { address, cause };
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        let authorization = token.map_or("", |token| token.expose().as_str());
        let mut text = String::with_capacity(head.len() + authorization.len() + body.len() + 64);
        text.push_str(&head);
        if token.is_some() {
            text.push_str("Authorization: Bearer ");
            text.push_str(authorization);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.push_str(body);
        // Wiped when it has been sent.
        let request = Secret::new(text);
        stream.write_all(request.expose().as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAXIMUM_ANSWER).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = match tokio::time::timeout(CLOSE_TO_NOW, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_) => return Err(unreachable(format!("no answer within {CLOSE_TO_NOW:?}"))),
    };
    parse(&answer).ok_or(AskError::Strange(address))
}

/// Where an address that is listened on is reached from this machine.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn parse(answer: &[u8]) -> Option<(u16, Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_strange_ones_are_none() {
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 8\r\n\r\n{\"a\": 1}";
        let (status, value) = parse(answer).unwrap();
        assert_eq!((status, value["a"].as_u64()), (201, Some(1)));
        for strange in [
            &b""[..],
            b"220 mail.example ESMTP\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
        ] {
            assert!(parse(strange).is_none());
        }
    }

    #[test]
    fn what_is_listened_on_everywhere_is_reached_on_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("127.0.0.2:1"), "127.0.0.2:1");
    }
}
