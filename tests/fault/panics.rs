//! A defect that makes one client's task panic ends that client and nobody else.

use pglanes_tests::{Fake, Proxy, Raw, Script, Step, nothing_left};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// A message that no server sends; the proxy logs that it met it, in the middle of the session's task.
const STRANGE: u8 = b'%';

/// Panics when the proxy logs that message: as a defect there would.
struct Defect;

impl<S: tracing::Subscriber> Layer<S> for Defect {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut found = Strange(false);
        event.record(&mut found);
        assert!(!found.0, "the defect that this test is about");
    }
}

struct Strange(bool);

impl tracing::field::Visit for Strange {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 |= format!("{value:?}").contains("message '%'");
    }
}

fn script(then: Vec<Step>) -> Vec<Step> {
    let set = Script::new()
        .message(b'S', b"application_name\0\0")
        .message(b'C', b"SET\0")
        .message(b'Z', b"I");
    let mut script = Step::login();
    script.push(Step::Read(b'Q'));
    script.push(Step::Say(set.bytes().to_vec()));
    script.push(Step::Read(b'Q'));
    script.extend(then);
    script
}

#[tokio::test]
async fn a_panic_in_one_clients_task_ends_that_client_alone() {
    // Of other tests of this program it panics in none: the message is this test's own.
    let layer = tracing_subscriber::registry().with(Defect);
    tracing::subscriber::set_global_default(layer).unwrap();
    let strange = vec![Step::message(STRANGE, b"?"), Step::UntilClosed];
    let answer = Script::new().message(b'I', b"").message(b'Z', b"I");
    let good = vec![Step::Say(answer.bytes().to_vec()), Step::UntilClosed];
    let fake = Fake::plays(vec![script(strange), script(good)]).await;
    let proxy = Proxy::with("auth: { method: trust }")
        .slots(1)
        .upstream_port(fake.port())
        .run()
        .await;
    let (mut other, mut unlucky) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
    unlucky.say(&Script::new().query("SELECT 1")).await;
    unlucky.until_end().await;
    // The slot is free again, and who was there before is served.
    assert_eq!(other.query("").await.len(), 2);
    drop((other, unlucky));
    nothing_left(&proxy).await;
    let view = proxy.view().await;
    assert_eq!((view.sessions, view.logins), (0, 0));
    drop(proxy);
    fake.used_up().await;
}
