//! A client that says the least: startup without a password, and simple queries whose
//! answers it throws away.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail};

/// Protocol 3.0.
const VERSION: i32 = 3 << 16;
/// ReadyForQuery outside a transaction. It ends every answer here; the rows asked for hold nothing like it.
const READY: &[u8] = b"Z\0\0\0\x05I";
/// Nothing here is silent for so long unless it is stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub(crate) struct RawClient(TcpStream);

impl RawClient {
    /// Connects to 127.0.0.1 as the test bed's superuser and logs in.
    pub(crate) fn connect(port: u16, buffer: &mut [u8]) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut client = Self(stream);
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        let mut packet = Vec::new();
        packet.extend_from_slice(&(8 + parameters.len() as i32).to_be_bytes());
        packet.extend_from_slice(&VERSION.to_be_bytes());
        packet.extend_from_slice(parameters);
        client.0.write_all(&packet)?;
        client.discard_until_ready(buffer)?;
        Ok(client)
    }

    /// Asks, and counts the bytes of the answer.
    pub(crate) fn query(&mut self, sql: &str, buffer: &mut [u8]) -> Result<u64> {
        let mut packet = vec![b'Q'];
        packet.extend_from_slice(&(4 + sql.len() as i32 + 1).to_be_bytes());
        packet.extend_from_slice(sql.as_bytes());
        packet.push(0);
        self.0.write_all(&packet)?;
        self.discard_until_ready(buffer)
    }

    fn discard_until_ready(&mut self, buffer: &mut [u8]) -> Result<u64> {
        let mut bytes = 0;
        // The last bytes so far: the end may come in two reads.
        let mut tail: Vec<u8> = Vec::with_capacity(2 * READY.len());
        loop {
            let read = self.0.read(buffer)?;
            if read == 0 {
                bail!(
                    "the connection was closed: {}",
                    String::from_utf8_lossy(&tail)
                );
            }
            bytes += read as u64;
            let newest = &buffer[read.saturating_sub(READY.len())..read];
            tail.extend_from_slice(newest);
            let surplus = tail.len().saturating_sub(READY.len());
            tail.drain(..surplus);
            if tail == READY {
                return Ok(bytes);
            }
        }
    }
}
