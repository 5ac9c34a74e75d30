//! No password is said anywhere: everything runs with passwords that are easily found again, at the most verbose level, and
//! they are looked for in all that was said.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use pglanes_auth::{Password, Verifier};
use pglanes_testbed::{Auth, Postgres, StopMode};
use pglanes_tests::{Pg, Proxy, connect, invariants, soon, try_connect, value};

const CLIENT: &str = "hunter2-canary-client";
const OTHER: &str = "hunter2-canary-other";
const ALIAS: &str = "hunter2-canary-alias";
const GUESS: &str = "hunter2-canary-guess";
const UPSTREAM: &str = "hunter2-canary-upstream";

/// All that this process has logged.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything of the whole process, from now on: the data path runs on a thread of its own.
fn log_everything() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log(Arc::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
        log
    })
}

fn fragment(users_password: &str) -> String {
    format!(
        "auth: {{ method: scram-sha-256 }}
users:
  postgres:
    password: {{ env: {users_password} }}
    upstream_password: {{ env: UPSTREAM }}
    aliases: [{{ name: old_name, password: {{ env: ALIAS }} }}]
  stored: {{ password: {{ env: VERIFIER }} }}"
    )
}

#[tokio::test]
async fn no_password_is_said_anywhere() {
    let log = log_everything();
    let verifier =
        Verifier::from_password(&Password::from(OTHER.to_owned()), b"saltsaltsaltsalt", 4096);
    let stored = verifier.to_stored_form();
    let mut said = String::new();
    for auth in [
        Auth::Scram {
            password: UPSTREAM.to_owned(),
        },
        Auth::Cleartext {
            password: UPSTREAM.to_owned(),
        },
    ] {
        let pg = Pg::own(Postgres::builder().auth(auth)).await;
        let builder = Proxy::with(&fragment("CLIENT"))
            .over(&pg)
            .secret("CLIENT", CLIENT)
            .secret("OTHER", OTHER)
            .secret("ALIAS", ALIAS)
            .secret("VERIFIER", stored.expose())
            .secret("UPSTREAM", UPSTREAM);
        let wrong_upstream = builder.clone().secret("UPSTREAM", GUESS);
        let config = builder.config(pg.server().port());
        said.push_str(&format!("{config:?}\n{config:#?}\n"));
        let proxy = builder.run().await;
        said.push_str(&talk(&proxy).await);
        proxy.reload(&fragment("OTHER")).await.unwrap();
        let now = connect(&proxy, &format!("password={OTHER}")).await;
        assert_eq!(value(&now, "SELECT 'in'").await, "in");
        drop(now);
        said.push_str(&talk(&proxy).await);
        invariants(&proxy).await;
        soon(proxy.handle().shutdown(Duration::ZERO)).await;
        drop(proxy);

        let proxy = wrong_upstream.run().await;
        let error = try_connect(&proxy, &format!("password={CLIENT}"))
            .await
            .err()
            .unwrap();
        assert_eq!(error.code().unwrap().code(), "28P01");
        said.push_str(&format!("{error:?} {error}"));
        invariants(&proxy).await;
        pg.stop(StopMode::Immediate).await;
    }
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    // It does look at what was said.
    assert!(
        logged.contains("an alias was used"),
        "the log was not captured"
    );
    assert!(
        logged.contains("server connection not opened"),
        "the log was not captured"
    );
    assert!(said.contains("password authentication failed"));
    let keys = stored.expose().rsplit('$').next().unwrap().to_owned();
    for (place, text) in [
        ("the log", &logged),
        ("what clients and operators see", &said),
    ] {
        for secret in ["hunter2", "canary", &keys, keys.split(':').next().unwrap()] {
            // The line is not shown: it may be somebody's terminal.
            assert!(!text.contains(secret), "a secret is in {place}");
        }
    }
}

/// Logins that succeed and fail; gives all that was said to clients, and what an operator can look at.
async fn talk(proxy: &Proxy) -> String {
    let mut said = String::new();
    for asked in [
        format!("password={CLIENT}"),
        format!("password={GUESS}"),
        format!("user=old_name password={ALIAS}"),
        format!("user=old_name password={GUESS}"),
        format!("user=stored password={GUESS}"),
        format!("user=stored password={OTHER}"),
        format!("user=unknown password={GUESS}"),
        "user=postgres".to_owned(),
    ] {
        match try_connect(proxy, &asked).await {
            Ok(client) => said.push_str(&value(&client, "SELECT current_user").await),
            Err(error) => said.push_str(&format!("{error:?} {error}\n")),
        }
    }
    said.push_str(&format!("{:?} {:#?}\n", proxy.view().await, proxy.handle()));
    said.push_str(&format!("{:?}\n", proxy.metrics()));
    said
}
