//! Another configuration in force, without dropping a session.

use std::rc::Rc;

use pglanes_config::Config;

use crate::events::EventKind;
use crate::hub::{Hub, Live};
use crate::tls::Material;

/// Certificates and keys are read again with every reload, aside of this thread.
pub(super) async fn reload(hub: &Rc<Hub>, config: Config) -> Result<(), String> {
    let config = keep_what_needs_a_restart(config, &hub.live().config);
    let wanted = config.clone();
    let material = tokio::task::spawn_blocking(move || Material::load(&wanted)).await;
    let material = match material {
        Ok(Ok(material)) => material,
        Ok(Err(error)) => {
            let why = error.to_string();
            count_refused_reload(hub, &why);
            return Err(why);
        }
        Err(_) => return Err("the proxy is ending".to_owned()),
    };
    let running = hub.live();
    let live = Live::new(config, Some(&running));
    if let Err(error) = live.policy.validate() {
        let why = error.to_string();
        count_refused_reload(hub, &why);
        return Err(why);
    }
    hub.set_tls(material);
    hub.set_live(live);
    hub.metrics.reloads.increment();
    hub.metrics.last_reload_succeeded.set(true);
    let forgotten = hub.forget_adjustments();
    for set in &forgotten {
        tracing::warn!("what an operator had set is forgotten with the reload: {set}");
    }
    hub.events.push(EventKind::Reloaded { forgotten });
    Ok(())
}

pub(super) fn count_refused_reload(hub: &Hub, why: &str) {
    hub.metrics.reload_failures.increment();
    hub.metrics.last_reload_succeeded.set(false);
    hub.events.push(EventKind::ReloadRefused {
        why: why.to_owned(),
    });
}

/// Where PostgreSQL is does not change under open connections, nor does what their names mean.
fn keep_what_needs_a_restart(mut config: Config, running: &Config) -> Config {
    config.upstream.address = running.upstream.address.clone();
    config.upstream.unix_socket = running.upstream.unix_socket.clone();
    config.upstream.tls = running.upstream.tls.clone();
    config.upstream.application_name = running.upstream.application_name;
    config
}
