//! What an operator has set, and a reload of the file.

use rustix::process::Signal;
use tokio_postgres::NoTls;

use crate::support::{Folder, NOWHERE, Serving, lanes_yaml, pglanes};

const TOKEN: &str = "a-token-of-the-tests";

const LANES: &str = "\
admin: { token: { env: TOKEN_OF_THE_TESTS } }
lanes: { default: { slots: { max: 4 } } }
";

/// Runs a command at the console.
fn command(serving: &Serving, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let parameters = format!(
        "host=127.0.0.1 port={} user=pglanes password={TOKEN} dbname=pglanes sslmode=disable",
        serving.clients.port()
    );
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    });
}

#[test]
fn a_reload_forgets_what_was_set_also_where_the_file_means_the_same() {
    let folder = Folder::new();
    let file = lanes_yaml(NOWHERE, LANES);
    folder.write("lanes.yaml", &file);
    let mut program = pglanes(&folder);
    program.env("TOKEN_OF_THE_TESTS", TOKEN);
    let mut serving = Serving::start_command(program);
    let max = |serving: &Serving| {
        serving.metric("pglanes_slots", &[("lane", "default"), ("kind", "max")])
    };
    let again = "was read again";
    // By the console, by the signal, and by a file that was written anew with the same content.
    for ask in ["RELOAD", "SIGHUP", "the file"] {
        command(&serving, "SET LANE default slots.max = 2");
        assert_eq!(max(&serving), 2.0, "{ask}");
        match ask {
            "RELOAD" => command(&serving, "RELOAD"),
            "SIGHUP" => serving.signal(Signal::HUP),
            _ => drop(folder.write("lanes.yaml", &format!("{file}# the same\n"))),
        }
        serving.hear(again);
        assert_eq!(max(&serving), 4.0, "{ask}");
    }
}
