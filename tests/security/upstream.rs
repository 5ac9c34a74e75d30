//! The proxy's own logins at PostgreSQL, by each method it may be asked for.

use pglanes_testbed::{Auth, Postgres, StopMode};
use pglanes_tests::{Pg, Proxy, connect, invariants, try_connect, value};

async fn check(auth: Auth) {
    let password = auth.password().unwrap().to_owned();
    let pg = Pg::own(Postgres::builder().auth(auth.clone())).await;
    let with_password = |password: &str| {
        let builder = Proxy::with("auth: { method: trust }")
            .over(&pg)
            .upstream("password: { env: PASSWORD }");
        builder.secret("PASSWORD", password)
    };
    let proxy = with_password(&password).run().await;
    // Several server connections: what was computed for one login is used for the next.
    let clients = [
        connect(&proxy, "").await,
        connect(&proxy, "").await,
        connect(&proxy, "").await,
    ];
    for client in &clients {
        client.batch_execute("BEGIN").await.unwrap();
        assert_eq!(
            value(client, "SELECT current_user").await,
            "postgres",
            "{auth:?}"
        );
    }
    drop(clients);
    invariants(&proxy).await;

    let proxy = with_password("not the right one").run().await;
    let error = try_connect(&proxy, "").await.err().unwrap();
    assert_eq!(
        error.code().unwrap().code(),
        "28P01",
        "{auth:?}: the server's own answer"
    );
    invariants(&proxy).await;

    let proxy = Proxy::with("auth: { method: trust }").over(&pg).run().await;
    let error = try_connect(&proxy, "").await.err().unwrap();
    let text = error.as_db_error().unwrap().message().to_owned();
    assert!(text.contains("password"), "{auth:?}, without one: {text}");
    invariants(&proxy).await;
    pg.stop(StopMode::Immediate).await;
}

fn password() -> String {
    "s3cret ü'\"\\".to_owned()
}

#[tokio::test]
async fn scram() {
    check(Auth::Scram {
        password: password(),
    })
    .await;
}

#[tokio::test]
async fn md5() {
    check(Auth::Md5 {
        password: password(),
    })
    .await;
}

#[tokio::test]
async fn cleartext() {
    check(Auth::Cleartext {
        password: password(),
    })
    .await;
}
