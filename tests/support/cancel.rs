//! Cancel requests, on a connection of their own as the protocol has it.

use bytes::BytesMut;
use pglanes_wire::startup::write_cancel_request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Target, Welcome, soon};

/// Sends a cancel request and waits until the other side closes: it has then been carried out, or was for nothing.
pub async fn cancel(target: &impl Target, welcome: &Welcome) {
    send_cancel(target, welcome.pid, &welcome.key).await;
}

/// As [`cancel`], with any key.
pub async fn send_cancel(target: &impl Target, pid: i32, key: &[u8]) {
    let stream = soon(TcpStream::connect(target.address())).await;
    let mut stream = stream.expect("the connection is accepted");
    let mut packet = BytesMut::new();
    write_cancel_request(&mut packet, pid, key);
    soon(stream.write_all(&packet)).await.expect("it is read");
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty(), "a cancel request is not answered");
}
