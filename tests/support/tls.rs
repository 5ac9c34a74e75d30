//! TLS for tests: certificates of one's own, and a client that begins with TLS in either way.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;
use pglanes_wire::startup::write_ssl_request;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Raw, soon};

/// A folder with an authority (`ca.crt`), what it signed (`server.crt` and `server.key` for localhost and 127.0.0.1,
/// `client.crt` and `client.key` for the user postgres) and another authority that signed nothing (`other.crt`). It is
/// removed when this is dropped.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    /// If the folder cannot be written.
    #[expect(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pglanes-tests-tls-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let made = Self {
            folder,
            authority: authority("the tests' authority"),
        };
        made.write("ca.crt", &made.authority.pem(), 0o644);
        made.write("other.crt", &authority("another").pem(), 0o644);
        made.renew();
        made.sign("client", "postgres", &[]);
        made
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `tls` of a lanes.yaml with the server's certificate, and further entries.
    pub fn section(&self, more: &str) -> String {
        let (certificate, key) = (self.path("server.crt"), self.path("server.key"));
        format!(
            "tls: {{ certificate: {}, key: {}{more} }}\n",
            certificate.display(),
            key.display()
        )
    }

    /// Another certificate, with another key, in the server's place.
    pub fn renew(&self) {
        self.sign("server", "pglanes", &["localhost", "127.0.0.1"]);
    }

    /// Puts something else in a file's place, at once for who looks.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let written = self.path(&format!("{name}.new"));
        fs::write(&written, text).unwrap();
        fs::set_permissions(&written, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(written, self.path(name)).unwrap();
    }

    /// The first certificate of a file.
    ///
    /// # Panics
    /// If there is none.
    pub fn der(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// Signs a certificate for these names, and puts it and its key in the files of this name.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn sign(&self, name: &str, common_name: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let signed = parameters(common_name, names).signed_by(&key, &self.authority);
        self.write(&format!("{name}.key"), &key.serialize_pem(), 0o600);
        self.write(&format!("{name}.crt"), &signed.unwrap().pem(), 0o644);
    }

    /// A client that trusts the authority in `roots`.
    pub fn client(&self, roots: &str) -> ClientConfig {
        builder(&self.path(roots)).with_no_client_auth()
    }

    /// A client that trusts the authority and shows its own certificate.
    ///
    /// # Panics
    /// If a file cannot be read.
    pub fn client_with_certificate(&self) -> ClientConfig {
        self.client_as("client")
    }

    /// A client that trusts the authority and shows the certificate in the files of this name.
    ///
    /// # Panics
    /// If a file cannot be read.
    pub fn client_as(&self, name: &str) -> ClientConfig {
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let chain = vec![self.der(&format!("{name}.crt"))];
        let config = builder(&self.path("ca.crt")).with_client_auth_cert(chain, key);
        config.unwrap()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // What is left is in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn parameters(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters
}

fn authority(common_name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = parameters(common_name, &[]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn builder(roots: &Path) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut store = RootCertStore::empty();
    store
        .add(CertificateDer::from_pem_file(roots).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
}

/// How a client begins with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// It asks first.
    Request,
    /// At once, naming this protocol by ALPN.
    Direct(Option<&'static str>),
}

/// Opens TLS to `localhost` at this address.
///
/// # Errors
/// The handshake's.
///
/// # Panics
/// If TLS is asked for and not offered.
pub async fn tls_connect(
    address: SocketAddr,
    mut config: ClientConfig,
    begin: Begin,
) -> io::Result<TlsStream<TcpStream>> {
    let mut stream = soon(TcpStream::connect(address)).await?;
    match begin {
        Begin::Request => {
            let mut request = BytesMut::new();
            write_ssl_request(&mut request);
            soon(stream.write_all(&request)).await?;
            assert_eq!(soon(stream.read_u8()).await?, b'S');
        }
        Begin::Direct(protocol) => {
            config.alpn_protocols = protocol
                .map(|name| name.as_bytes().to_vec())
                .into_iter()
                .collect();
        }
    }
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// A client of frames over any stream: what it says and hears is carried on by a task, until either side ends.
pub async fn raw_over(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Raw {
    let listener = soon(TcpListener::bind("127.0.0.1:0")).await.unwrap();
    let raw = Raw::connect(listener.local_addr().unwrap()).await;
    let (mut near, _) = soon(listener.accept()).await.unwrap();
    tokio::spawn(async move {
        // However it ends, both sides see that it has.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut stream).await;
    });
    raw
}
