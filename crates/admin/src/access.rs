//! Who may ask over HTTP for what: the token of those who change things, and the checks that keep web pages out.
//!
//! A browser on this machine reaches loopback, so any page that its user visits can send requests to it. Three things
//! stand against that: whoever changes something presents a token that no page knows; a request that says it comes from
//! another site is refused (`Origin`, `Sec-Fetch-Site`); and one whose `Host` is a name that a stranger may have pointed
//! at this machine (DNS rebinding) is not answered at all.
//!
//! A handler asks for what it needs by an argument: [`Reader`] for what only shows, [`Admin`] for what changes something.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pglanes_auth::Secret;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

/// Whose requests are taken. Written by the binary, at each reload; read at each request.
#[derive(Clone, Debug)]
pub struct Access {
    token: watch::Receiver<Option<Secret<String>>>,
    names: Names,
}

/// By which names the proxy may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those that always mean this machine: `localhost` and addresses. For a loopback address.
    OfThisMachine,
    /// Any: where other machines may ask, they use names that are not known here.
    Any,
}

impl Names {
    /// What fits the address that is listened on.
    pub fn on(address: SocketAddr) -> Self {
        if address.ip().is_loopback() {
            Self::OfThisMachine
        } else {
            Self::Any
        }
    }
}

impl Access {
    /// With the token that is in force, now and later; while there is none nothing can be changed over HTTP.
    pub fn new(token: watch::Receiver<Option<Secret<String>>>, names: Names) -> Self {
        Self { token, names }
    }

    /// Whether this is the token, in time that does not tell how much of it is right.
    pub fn is_token(&self, presented: &[u8]) -> bool {
        let token = self.token.borrow();
        token
            .as_ref()
            .is_some_and(|token| token.expose().as_bytes().ct_eq(presented).into())
    }

    /// Whether a request with these headers may be shown things.
    ///
    /// # Errors
    /// Why not.
    pub fn may_read(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let host = headers.get(header::HOST).map(|host| host.to_str());
        let Some(Ok(host)) = host else {
            return Err(Denied::Host);
        };
        if self.names == Names::OfThisMachine && !means_this_machine(host) {
            return Err(Denied::Host);
        }
        same_origin(headers, host)
    }

    /// Whether a request with these headers may change things.
    ///
    /// # Errors
    /// Why not.
    pub fn may_change(&self, headers: &HeaderMap) -> Result<(), Denied> {
        self.may_read(headers)?;
        if self.token.borrow().is_none() {
            return Err(Denied::NoToken);
        }
        let presented = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| bearer(value.as_bytes()));
        match presented {
            None => Err(Denied::Unauthorised),
            Some(token) if self.is_token(token) => Ok(()),
            Some(_) => Err(Denied::WrongToken),
        }
    }
}

/// What stands behind `Bearer `, whose case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then_some(token.trim_ascii())
}

/// Whether a `Host` can only mean this machine: an address is never looked up, and `localhost` is no stranger's to point.
fn means_this_machine(host: &str) -> bool {
    let name = without_port(host);
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let name = name.to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What a browser says of the page that asks must be this very place; other programs say nothing.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Denied> {
    if let Some(site) = headers.get("sec-fetch-site")
        && !["same-origin", "none"].iter().any(|own| site == own)
    {
        return Err(Denied::Origin);
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let place = origin.to_str().ok().and_then(|origin| {
        let http = origin.strip_prefix("http://");
        http.or_else(|| origin.strip_prefix("https://"))
    });
    match place {
        Some(place) if place.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Denied::Origin),
    }
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It is for a name that may mean another machine.
    Host,
    /// It comes from another site's page.
    Origin,
    /// It presents no token.
    Unauthorised,
    /// It presents another token.
    WrongToken,
    /// There is no token that would be right.
    NoToken,
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Host => "the Host is neither localhost nor an address",
            Self::Origin => "the request comes from a page of another site",
            Self::Unauthorised => {
                "changing something needs the token: `Authorization: Bearer TOKEN` (lanes.yaml: admin.token, else the \
                 file `token` of the state folder)"
            }
            Self::WrongToken => "this is not the token",
            Self::NoToken => {
                "nothing can be changed over HTTP: lanes.yaml has no admin.token, and there is no state folder for one"
            }
        })
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let body = axum::Json(json!({ "error": self.to_string() }));
        let status = match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin | Self::NoToken => StatusCode::FORBIDDEN,
            Self::Unauthorised | Self::WrongToken => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"pglanes\"")];
                return (StatusCode::UNAUTHORIZED, challenge, body).into_response();
            }
        };
        (status, body).into_response()
    }
}

/// Whoever may be shown things: an argument of handlers.
#[derive(Clone, Copy, Debug)]
pub struct Reader;

impl<S> FromRequestParts<S> for Reader
where
    S: Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        Access::from_ref(state)
            .may_read(&parts.headers)
            .map(|()| Self)
    }
}

/// Whoever may change things: an argument of handlers.
#[derive(Clone, Copy, Debug)]
pub struct Admin;

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        Access::from_ref(state)
            .may_change(&parts.headers)
            .map(|()| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    const TOKEN: &str = "0123456789abcdef";

    fn access(names: Names) -> Access {
        // The receiver keeps the last value when its sender is gone.
        let (_, token) = watch::channel(Some(Secret::from(TOKEN)));
        Access::new(token, names)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn only_names_of_this_machine_are_answered_on_loopback() {
        for (host, local) in [
            ("localhost:9433", true),
            ("LOCALHOST", true),
            ("pglanes.localhost:9433", true),
            ("127.0.0.1:9433", true),
            ("192.168.0.7", true),
            ("[::1]:9433", true),
            ("evil.example:9433", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:9433", false),
            ("", false),
        ] {
            let asked = headers(&[("host", host)]);
            let expected = if local { Ok(()) } else { Err(Denied::Host) };
            assert_eq!(
                access(Names::OfThisMachine).may_read(&asked),
                expected,
                "{host}"
            );
            assert_eq!(access(Names::Any).may_read(&asked), Ok(()), "{host}");
        }
        assert_eq!(
            access(Names::Any).may_read(&headers(&[])),
            Err(Denied::Host)
        );
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let check = |more: &[(&'static str, &str)], expected| {
            let mut pairs = vec![("host", "localhost:9433")];
            pairs.extend_from_slice(more);
            let found = access(Names::OfThisMachine).may_read(&headers(&pairs));
            assert_eq!(found, expected, "{more:?}");
        };
        check(&[("origin", "http://localhost:9433")], Ok(()));
        check(&[("origin", "http://localhost:8000")], Err(Denied::Origin));
        check(&[("origin", "null")], Err(Denied::Origin));
        check(&[("origin", "https://evil.example")], Err(Denied::Origin));
        check(&[("sec-fetch-site", "same-origin")], Ok(()));
        check(&[("sec-fetch-site", "none")], Ok(()));
        check(&[("sec-fetch-site", "cross-site")], Err(Denied::Origin));
        check(&[("sec-fetch-site", "same-site")], Err(Denied::Origin));
    }

    #[test]
    fn changing_something_needs_the_token() {
        let check = |authorization: Option<&str>, expected| {
            let mut pairs = vec![("host", "localhost")];
            pairs.extend(authorization.map(|value| ("authorization", value)));
            let found = access(Names::OfThisMachine).may_change(&headers(&pairs));
            assert_eq!(found, expected, "{authorization:?}");
        };
        check(Some("Bearer 0123456789abcdef"), Ok(()));
        check(Some("bearer 0123456789abcdef"), Ok(()));
        check(Some("Bearer 0123456789abcdeF"), Err(Denied::WrongToken));
        check(Some("Bearer 0123456789abcde"), Err(Denied::WrongToken));
        check(Some("Bearer "), Err(Denied::WrongToken));
        check(Some("Basic 0123456789abcdef"), Err(Denied::Unauthorised));
        check(None, Err(Denied::Unauthorised));
    }

    #[test]
    fn a_token_that_changes_counts_at_once_and_without_one_nothing_is_changed() {
        let (sender, token) = watch::channel(None);
        let access = Access::new(token, Names::Any);
        let asked = headers(&[("host", "x"), ("authorization", "Bearer second-token-0123")]);
        assert_eq!(access.may_change(&asked), Err(Denied::NoToken));
        assert!(!access.is_token(b""));
        sender.send_replace(Some(Secret::from("second-token-0123")));
        assert_eq!(access.may_change(&asked), Ok(()));
        assert!(access.is_token(b"second-token-0123"));
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", access(Names::Any)).contains(TOKEN));
    }
}
