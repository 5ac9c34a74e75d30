//! Where the proxy is, and what it tells.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use pglanes_config::Config;

use super::state::State;
use crate::ask::ask;
use crate::state::token_of;

/// How often the state is asked for.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// A proxy's HTTP address, and the lanes.yaml that names its token.
pub(super) struct Feed {
    address: SocketAddr,
    config: Config,
}

impl Feed {
    /// At this URL, or where lanes.yaml says.
    pub(super) fn find(url: Option<&str>, config: &Config) -> Result<Self> {
        let address = match url {
            Some(url) => address_of(url)?,
            None => config.http.ok_or_else(|| {
                anyhow!("lanes.yaml says `http: off`, and that is where top asks")
            })?,
        };
        Ok(Self {
            address,
            config: config.clone(),
        })
    }

    /// For people.
    pub(super) fn place(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The state after a while. Dropped, nothing is lost.
    pub(super) async fn next(&self, after: Duration) -> Result<State> {
        tokio::time::sleep(after).await;
        self.state().await
    }

    /// The state at this moment.
    pub(super) async fn state(&self) -> Result<State> {
        let (status, answer) = ask(self.address, "GET /state", None, "").await?;
        if status != 200 {
            let why = answer["reason"]
                .as_str()
                .or_else(|| answer["error"].as_str());
            bail!(
                "{} answers {status}: {}",
                self.place(),
                why.unwrap_or("it does not say why")
            );
        }
        serde_json::from_value(answer)
            .context("the proxy is of another version: its state cannot be read")
    }

    /// Asks for something, with the token.
    pub(super) async fn post(&self, path: &str) -> Result<()> {
        // Read anew each time: a proxy that was started anew may have another.
        let token = token_of(&self.config);
        let line = format!("POST {path}");
        let (status, answer) = ask(self.address, &line, token.as_ref().ok(), "").await?;
        match (status, token) {
            (200, _) => Ok(()),
            // Its own words would not say where the token was looked for.
            (401, Err(why)) => bail!(why),
            _ => bail!(
                "{}",
                answer["error"]
                    .as_str()
                    .unwrap_or("it does not say why not")
            ),
        }
    }
}

/// The address that a URL, or `host:port`, leads to.
fn address_of(url: &str) -> Result<SocketAddr> {
    let place = url.strip_prefix("http://").unwrap_or(url);
    let place = place.split(['/', '?']).next().unwrap_or_default();
    let wrong = || format!("--url {url}: such as http://127.0.0.1:9433 is expected");
    if place.contains("://") || !place.contains(':') {
        bail!(wrong());
    }
    let mut addresses = place.to_socket_addrs().with_context(wrong)?;
    addresses.next().with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_with_and_without_its_scheme() {
        for url in [
            "http://127.0.0.1:9433",
            "http://127.0.0.1:9433/",
            "127.0.0.1:9433",
        ] {
            assert_eq!(
                address_of(url).unwrap().to_string(),
                "127.0.0.1:9433",
                "{url}"
            );
        }
        for url in ["", "https://127.0.0.1:9433", "127.0.0.1", "http://"] {
            let error = address_of(url).unwrap_err().to_string();
            assert!(error.contains("is expected"), "{url}: {error}");
        }
    }
}
