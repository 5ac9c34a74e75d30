//! Who may come in, from where, and how it is proven: `access`, read in order as `pg_hba.conf` is, and what holds without.

use std::fmt;
use std::net::IpAddr;

use pglanes_lanes::classify::{Glob, Network, Origin, Place};

use crate::model::{Authentication, Config};

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// Through a unix socket.
    Local,
    /// Over TCP.
    Tcp(IpAddr),
}

impl ClientAddress {
    /// Whether the client is on this machine.
    pub fn is_this_machine(self) -> bool {
        match self {
            Self::Local => true,
            Self::Tcp(address) => address.to_canonical().is_loopback(),
        }
    }
}

impl From<ClientAddress> for Origin {
    fn from(address: ClientAddress) -> Self {
        match address {
            ClientAddress::Local => Self::Local,
            ClientAddress::Tcp(address) => Self::Address(address),
        }
    }
}

impl fmt::Display for AddressMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("any"),
            Self::Local => formatter.write_str("local"),
            Self::Network { base, prefix } => write!(formatter, "{base}/{prefix}"),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => formatter.write_str("[local]"),
            Self::Tcp(address) => write!(formatter, "{}", address.to_canonical()),
        }
    }
}

/// The addresses that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMatch {
    /// Every one, unix sockets among them.
    Any,
    /// Unix sockets.
    Local,
    /// A network (CIDR); a single address has all its bits.
    Network {
        /// The network's address.
        base: IpAddr,
        /// How many of its leading bits count.
        prefix: u8,
    },
}

impl AddressMatch {
    /// `any`, `local`, `10.0.0.0/8`, `::1`.
    ///
    /// # Errors
    /// What would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let right = "`any`, `local` (unix sockets), or a network such as 10.0.0.0/8 is right";
        match text {
            "any" | "all" => return Ok(Self::Any),
            "local" => return Ok(Self::Local),
            _ => {}
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| right)?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| format!("a network's length is a number from 0 to {bits}"))?,
        };
        let network = Network { base, prefix };
        // As pg_hba.conf warns of: bits that the length says do not count are mostly a slip.
        if !network.is_whole() {
            return Err(format!(
                "the address has bits set beyond the first {prefix}; write the network's own address"
            ));
        }
        Ok(Self::Network { base, prefix })
    }

    /// The same for the classifier.
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Any => Place::Any,
            Self::Local => Place::Local,
            Self::Network { base, prefix } => Place::Network(Network { base, prefix }),
        }
    }

    /// Whether the rule is about this client.
    pub fn matches(self, from: ClientAddress) -> bool {
        match (self, from) {
            (Self::Any, _) | (Self::Local, ClientAddress::Local) => true,
            (Self::Network { base, prefix }, ClientAddress::Tcp(address)) => {
                Network { base, prefix }.contains(address)
            }
            (Self::Local, ClientAddress::Tcp(_)) | (Self::Network { .. }, ClientAddress::Local) => {
                false
            }
        }
    }

    /// Whether only clients of this machine match.
    pub fn is_this_machine(self) -> bool {
        match self {
            Self::Any => false,
            Self::Local => true,
            Self::Network {
                base: IpAddr::V4(base),
                prefix,
            } => base.is_loopback() && prefix >= 8,
            Self::Network {
                base: IpAddr::V6(base),
                prefix,
            } => base.is_loopback() && prefix == 128,
        }
    }
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMethod {
    /// It is who it says.
    Trust,
    /// By the password itself, over TLS or a unix socket only.
    Password,
    /// By an md5 hash of the password; by SCRAM-SHA-256 where a verifier is what is known.
    Md5,
    /// By SCRAM-SHA-256.
    ScramSha256,
    /// By its operating system user, over a unix socket.
    Peer,
    /// By a certificate, over TLS.
    Cert,
    /// Not at all: it is turned away.
    Reject,
    /// By what is known of the user; where nothing is, by the login at PostgreSQL, carried out end to end.
    Relay,
}

impl AccessMethod {
    /// All, as they are written.
    pub(crate) const NAMED: [(&'static str, Self); 8] = [
        ("relay", Self::Relay),
        ("scram-sha-256", Self::ScramSha256),
        ("md5", Self::Md5),
        ("password", Self::Password),
        ("peer", Self::Peer),
        ("cert", Self::Cert),
        ("trust", Self::Trust),
        ("reject", Self::Reject),
    ];
}

/// Somebody as whoever vouches for them names them (the operating system, or a certificate), and a database user that they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMapping {
    /// The operating system user's name, or the certificate's common name.
    pub system_user: String,
    /// The database users that it may be.
    pub user: Glob,
}

/// One entry of `access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// The clients' addresses.
    pub address: AddressMatch,
    /// The databases, by their real names.
    pub database: Glob,
    /// The users, by their real names.
    pub user: Glob,
    /// How they prove who they are.
    pub method: AccessMethod,
    /// For `peer` and `cert`: who may be whom. Without any, everybody is the database user of their name.
    pub map: Vec<PeerMapping>,
}

/// The question for credentials that `auth_query` asks PostgreSQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthQuery {
    /// The statement; `None` reads `pg_authid`. `$1` is the user's name; the answer is a row of name and password.
    pub query: Option<String>,
    /// Who asks; `None` is the upstream URL's user.
    pub user: Option<String>,
    /// Where it is asked; `None` is the upstream URL's database, else `postgres`.
    pub database: Option<String>,
}

/// What is asked of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission<'c> {
    /// To prove itself in this way.
    By(AccessMethod),
    /// To be the system user that this map allows.
    Peer(&'c [PeerMapping]),
    /// To show a certificate whose common name this map allows.
    Cert(&'c [PeerMapping]),
    /// Nothing: there are rules, and none is about it.
    NoRule,
}

impl Config {
    /// What is asked of a client that wants to be this user in this database, by their real names.
    pub fn admission(&self, from: ClientAddress, database: &str, user: &str) -> Admission<'_> {
        if self.access.is_empty() {
            return Admission::By(match self.authentication {
                Authentication::Relay => AccessMethod::Relay,
                Authentication::Trust => AccessMethod::Trust,
                Authentication::ScramSha256 => AccessMethod::ScramSha256,
            });
        }
        let fits = |rule: &&AccessRule| {
            rule.address.matches(from) && rule.database.matches(database) && rule.user.matches(user)
        };
        match self.access.iter().find(fits) {
            None => Admission::NoRule,
            Some(rule) if rule.method == AccessMethod::Peer => Admission::Peer(&rule.map),
            Some(rule) if rule.method == AccessMethod::Cert => Admission::Cert(&rule.map),
            Some(rule) => Admission::By(rule.method),
        }
    }
}

/// Whether somebody of this name, by the operating system or by a certificate, may be a database user.
pub fn peer_may_be(map: &[PeerMapping], system_user: &str, user: &str) -> bool {
    if map.is_empty() {
        return system_user == user;
    }
    map.iter()
        .any(|entry| entry.system_user == system_user && entry.user.matches(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> ClientAddress {
        ClientAddress::Tcp(address.parse().unwrap())
    }

    #[test]
    fn networks_match_by_their_leading_bits() {
        let check = |network: &str, address: &str, expected: bool| {
            let network = AddressMatch::parse(network).unwrap();
            assert_eq!(
                network.matches(tcp(address)),
                expected,
                "{network:?} {address}"
            );
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.6", false);
        check("127.0.0.1/32", "::ffff:127.0.0.1", true);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::1", false);
        check("::/0", "::1", true);
        check("::/0", "127.0.0.1", false);
        assert!(AddressMatch::Any.matches(ClientAddress::Local));
        assert!(!AddressMatch::Local.matches(tcp("127.0.0.1")));
        assert!(
            !AddressMatch::parse("0.0.0.0/0")
                .unwrap()
                .matches(ClientAddress::Local)
        );
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::/129",
            "10.0/8",
            "host",
            "10.0.0.0/-1",
        ] {
            assert!(AddressMatch::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_system_user_is_its_namesake_unless_a_map_says_otherwise() {
        assert!(peer_may_be(&[], "daniel", "daniel"));
        assert!(!peer_may_be(&[], "daniel", "root"));
        let map = [PeerMapping {
            system_user: "daniel".into(),
            user: Glob::new("ai_*"),
        }];
        assert!(peer_may_be(&map, "daniel", "ai_user"));
        assert!(!peer_may_be(&map, "daniel", "daniel"));
        assert!(!peer_may_be(&map, "other", "ai_user"));
    }

    #[test]
    fn only_loopback_is_this_machine() {
        let machine = |text: &str| AddressMatch::parse(text).unwrap().is_this_machine();
        assert!(machine("local") && machine("127.0.0.0/8") && machine("::1"));
        assert!(!machine("any") && !machine("0.0.0.0/0") && !machine("10.0.0.1"));
        assert!(tcp("::ffff:127.0.0.1").is_this_machine());
    }
}
