//! A client that speaks in frames, for what a driver would hide.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use pglanes_wire::startup::{PROTOCOL_3_0, write_startup};
use pglanes_wire::{frame, message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Answer, Script, Target, soon, tags};

/// A connection of frames. Every wait panics after [`crate::LIMIT`].
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    received: BytesMut,
}

/// What a server said to a login that succeeded.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// Everything, in its order, ReadyForQuery included.
    pub answers: Vec<Answer>,
    /// The process id of BackendKeyData.
    pub pid: i32,
    /// The key of BackendKeyData.
    pub key: Bytes,
}

impl Welcome {
    /// What it said of a parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let statuses = self.answers.iter().filter(|answer| answer.tag == b'S');
        let named = |(known, value): (String, String)| (known == name).then_some(value);
        statuses.map(Answer::parameter).find_map(named)
    }
}

/// A startup packet of protocol 3.0.
pub fn startup_packet(parameters: &[(&str, &str)]) -> BytesMut {
    let mut packet = BytesMut::new();
    write_startup(&mut packet, PROTOCOL_3_0, parameters.iter().copied());
    packet
}

impl Raw {
    /// Connects and says nothing.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await;
        let stream = stream.expect("the connection is accepted");
        // Bytes sent one by one are to arrive one by one.
        stream.set_nodelay(true).expect("a TCP socket");
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    /// Connects and logs in as the superuser, with these further parameters.
    pub async fn login(target: &impl Target, parameters: &[(&str, &str)]) -> (Self, Welcome) {
        let mut raw = Self::connect(target.address()).await;
        let who = [("user", "postgres"), ("database", target.database())];
        raw.send(&startup_packet(&[&who, parameters].concat()))
            .await;
        let welcome = raw.welcome().await;
        (raw, welcome)
    }

    /// As [`Self::login`], for who does not look at the welcome.
    pub async fn ready(target: &impl Target) -> Self {
        Self::login(target, &[]).await.0
    }

    /// Reads what a server says to a login by trust.
    ///
    /// # Panics
    /// If it refuses.
    pub async fn welcome(&mut self) -> Welcome {
        let answers = self.until_ready().await;
        let key = answers.iter().find(|answer| answer.tag == b'K');
        let mut key = match key {
            Some(answer) => answer.body.clone(),
            None => panic!("no BackendKeyData: {answers:?}"),
        };
        let pid = key.get_i32();
        Welcome { answers, pid, key }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = soon(self.stream.write_all(bytes)).await;
        sent.expect("the other side reads");
    }

    /// Sends bytes and does not mind if the other side has closed: for what is said into an error.
    pub async fn send_anyway(&mut self, bytes: &[u8]) {
        let _ = soon(self.stream.write_all(bytes)).await;
    }

    /// Sends bytes, each piece in a packet of its own as far as the network stack lets it. `cuts` are offsets, in order.
    pub async fn send_in_pieces(&mut self, bytes: &[u8], cuts: &[usize]) {
        let mut from = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let cut = cut.clamp(from, bytes.len());
            self.send(&bytes[from..cut]).await;
            from = cut;
            tokio::task::yield_now().await;
        }
    }

    /// Sends bytes one by one.
    pub async fn send_byte_by_byte(&mut self, bytes: &[u8]) {
        let cuts: Vec<usize> = (1..bytes.len()).collect();
        self.send_in_pieces(bytes, &cuts).await;
    }

    /// Says a script.
    pub async fn say(&mut self, script: &Script) {
        self.send(script.bytes()).await;
    }

    /// The next message, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            let header = frame::peek(&self.received).expect("the protocol's frames");
            if let Some(header) = header.filter(|header| self.received.len() >= header.total) {
                let mut whole = self.received.split_to(header.total).freeze();
                whole.advance(frame::HEADER);
                return Some(Answer {
                    tag: header.tag,
                    body: whole,
                });
            }
            if self.read_more().await == 0 {
                assert!(self.received.is_empty(), "the stream ends inside a message");
                return None;
            }
        }
    }

    /// The next message, or `None` at the end of the stream, be it inside a message: for connections that are cut.
    pub async fn next_or_cut(&mut self) -> Option<Answer> {
        loop {
            let header = frame::peek(&self.received).expect("the protocol's frames");
            let whole = header.is_some_and(|header| self.received.len() >= header.total);
            if whole {
                return self.next().await;
            }
            if self.read_more().await == 0 {
                return None;
            }
        }
    }

    /// Messages up to the next ReadyForQuery, with it; or up to where the stream ends, be it inside a message.
    pub async fn until_ready_or_cut(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next_or_cut().await {
            let ready = answer.tag == b'Z';
            answers.push(answer);
            if ready {
                break;
            }
        }
        answers
    }

    async fn read_more(&mut self) -> usize {
        // A connection that was cut has ended, as far as a client can tell.
        soon(self.stream.read_buf(&mut self.received))
            .await
            .unwrap_or(0)
    }

    /// One byte outside of frames: the answer to SSLRequest.
    pub async fn byte(&mut self) -> Option<u8> {
        if self.received.is_empty() && self.read_more().await == 0 {
            return None;
        }
        Some(self.received.get_u8())
    }

    /// The next message.
    ///
    /// # Panics
    /// If the stream ends instead.
    pub async fn read(&mut self) -> Answer {
        self.next().await.expect("a message, not the end")
    }

    /// Messages of exactly these types, one letter each.
    ///
    /// # Panics
    /// At the first of another type.
    pub async fn expect(&mut self, wanted: &str) -> Vec<Answer> {
        let mut answers = Vec::new();
        for tag in wanted.bytes() {
            answers.push(self.read().await);
            let last = &answers[answers.len() - 1];
            assert_eq!(
                last.tag,
                tag,
                "wanted {wanted}, have {} {last:?}",
                tags(&answers)
            );
        }
        answers
    }

    /// Messages up to the next ReadyForQuery, with it; or up to the end of the stream.
    pub async fn until_ready(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            let ready = answer.tag == b'Z';
            answers.push(answer);
            if ready {
                break;
            }
        }
        answers
    }

    /// Reads up to the next ReadyForQuery and keeps nothing, however long a message is. `look` is called every few MiB.
    /// Returns the bytes that came.
    ///
    /// # Panics
    /// At an error, or at the end of the stream.
    pub async fn discard_until_ready(&mut self, mut look: impl FnMut()) -> u64 {
        let (mut passed, mut looked) = (0_u64, 0_u64);
        loop {
            let Some(header) = frame::peek(&self.received).expect("the protocol's frames") else {
                assert!(self.read_more().await > 0, "the end");
                continue;
            };
            assert_ne!(header.tag, b'E', "an error after {passed} bytes");
            let mut left = header.total;
            loop {
                let here = left.min(self.received.len());
                self.received.advance(here);
                left -= here;
                passed += here as u64;
                // Inside a message too: it may be the only one.
                if passed - looked > 4 << 20 {
                    looked = passed;
                    look();
                }
                if left == 0 {
                    break;
                }
                assert!(self.read_more().await > 0, "the end inside a message");
            }
            if header.tag == b'Z' {
                look();
                return passed;
            }
        }
    }

    /// All messages up to the end of the stream.
    pub async fn until_end(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            answers.push(answer);
        }
        answers
    }

    /// A simple query and all of its answers.
    pub async fn query(&mut self, sql: &str) -> Vec<Answer> {
        let mut bytes = BytesMut::new();
        message::query(&mut bytes, sql);
        self.send(&bytes).await;
        self.until_ready().await
    }

    /// The one value of a query's last row.
    ///
    /// # Panics
    /// If it gives no row.
    pub async fn value(&mut self, sql: &str) -> String {
        let answers = self.query(sql).await;
        let row = answers.iter().rfind(|answer| answer.tag == b'D');
        row.unwrap_or_else(|| panic!("{sql}: {answers:?}")).value()
    }

    /// A script that ends in a Sync or is a simple query, and all of its answers.
    pub async fn ask(&mut self, script: &Script) -> Vec<Answer> {
        self.say(script).await;
        self.until_ready().await
    }

    /// Whether nothing is there to be read now.
    pub async fn is_silent(&mut self) -> bool {
        let wait = std::time::Duration::from_millis(50);
        let more = tokio::time::timeout(wait, self.stream.read_buf(&mut self.received)).await;
        more.is_err() && self.received.is_empty()
    }

    /// Says no more, but still reads.
    pub async fn half_close(&mut self) {
        soon(self.stream.shutdown()).await.expect("an open socket");
    }
}
