//! No secret is ever written: everything is logged at the most verbose level, and searched.

use std::io::Write;
use std::sync::{Arc, Mutex};

use pglanes_tests::{Proxy, connect, invariants, try_connect, value};
use tracing_subscriber::fmt::MakeWriter;

use crate::{role, scram_server, stored, user};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_password_or_verifier_is_in_no_log_whatever_happens() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    // The data path logs from a thread of its own, so the whole process is listened to.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let pg = scram_server().await;
    let name = role(&pg, "canary-password").await;
    let verifier = stored(&pg, &name).await;
    let relayed = Proxy::with("").over(&pg).run().await;
    let client = connect(&relayed, &user(&name, "canary-password")).await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    try_connect(&relayed, &user(&name, "canary-wrong"))
        .await
        .unwrap_err();
    drop(client);
    invariants(&relayed).await;
    let listed = Proxy::with("users_file: userlist.txt")
        .users_file(&format!(
            "\"{name}\" \"{verifier}\"\n\"other\" \"canary-other\"\n"
        ))
        .over(&pg)
        .run()
        .await;
    let client = connect(&listed, &user(&name, "canary-password")).await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    try_connect(&listed, &user(&name, "canary-wrong"))
        .await
        .unwrap_err();
    try_connect(&listed, &user("other", "canary-other"))
        .await
        .unwrap_err();
    drop(client);
    invariants(&listed).await;
    let written = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        written.contains("server connection not opened"),
        "something was logged"
    );
    let keys = verifier.rsplit('$').next().unwrap();
    let of_verifier = keys.split(':').collect::<Vec<_>>();
    for secret in [&["canary-"][..], &of_verifier].concat() {
        // The test's own clients log their parameters nowhere.
        assert!(!written.contains(secret), "{secret} in the log");
    }
}
