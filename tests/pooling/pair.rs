//! Two clients that share one server connection.

use pglanes_tests::{Answer, Proxy, Raw, Script, Welcome, cancel, eventually};

/// A proxy with one server connection, and two clients that share it.
pub(super) async fn pair(fragment: &str) -> (Proxy, Raw, Raw) {
    let proxy = Proxy::with(fragment).slots(1).run().await;
    let (one, other) = (Raw::ready(&proxy).await, Raw::ready(&proxy).await);
    (proxy, one, other)
}

/// Begins a block whose first statement is cancelled while it waits for the one connection, which the holder keeps in a
/// transaction; what that statement was answered.
pub(super) async fn refused_block(
    proxy: &Proxy,
    holder: &mut Raw,
    (one, welcome): (&mut Raw, &Welcome),
) -> Vec<Answer> {
    holder.query("BEGIN").await;
    holder.query("SELECT 1").await;
    one.query("BEGIN").await;
    one.say(&Script::new().query("SELECT 1")).await;
    eventually("it waits", || async {
        proxy.view().await.scheduler.waiting == 1
    })
    .await;
    cancel(proxy, welcome).await;
    one.until_ready().await
}
