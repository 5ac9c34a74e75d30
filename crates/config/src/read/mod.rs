//! From the written tree to the model, one file a part of it: `server` (addresses, upstream, limits), `names` (databases
//! and users), `access` (who may come in), `admin` (who may change things), `tls`, `observe`, `history`, `lanes` with their `rules` and `matching`, `objective`,
//! `throttles`. What must hold across parts is in `validate`.

mod access;
mod admin;
mod history;
mod lanes;
mod matching;
mod names;
mod objective;
mod observe;
mod rules;
mod server;
mod throttles;
mod tls;

use crate::lane::{Lane, Throttle};
use crate::model::Config;
use crate::reader::{Reading, Section};
use crate::yaml::{Node, Value};

/// The most lanes of one file.
pub const MAXIMUM_LANES: usize = 64;
/// The most rules of one lane.
pub const MAXIMUM_RULES: usize = 256;
/// The most throttles of one file.
pub const MAXIMUM_THROTTLES: usize = 64;
/// The most databases, users, and aliases of one of them.
pub const MAXIMUM_NAMES: usize = 1000;

/// Lanes and throttles that hold where a file says nothing of lanes: those of the default file.
pub(crate) struct DefaultLanes {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) throttles: Vec<Throttle>,
}

/// Reads everything. Mistakes are in `reading`; where there are some, the result is not to be used.
pub(crate) fn config(
    reading: &mut Reading<'_>,
    node: &Node,
    defaults: Option<DefaultLanes>,
) -> Option<Config> {
    let root = reading.root(node)?;
    let remote = server::remote(reading, &root);
    let listen = server::listen(reading, &root, remote);
    let http = server::http(reading, &root, remote);
    let admin = admin::admin(reading, &root);
    let state = admin::state(reading, &root);
    let upstream = server::upstream(reading, &root);
    let tls = tls::listen(reading, &root);
    let authentication = access::authentication(reading, &root);
    let access = access::access(reading, &root);
    let userlist = access::users_file(reading, &root);
    let auth_query = access::auth_query(reading, &root);
    let databases = names::databases(reading, &root);
    let users = names::users(reading, &root);
    let limits = server::limits(reading, &root);
    let shutdown_grace = server::shutdown(reading, &root);
    let reload = server::reload(reading, &root);
    let logging = server::logging(reading, &root);
    let observe = observe::observe(reading, &root);
    let history = history::history(reading, &root);
    let (lanes, throttles) = lanes_and_throttles(reading, &root, upstream.slots, defaults);
    Some(Config {
        listen,
        http,
        remote,
        admin,
        state,
        upstream,
        tls,
        authentication,
        access,
        userlist,
        auth_query,
        databases,
        users,
        limits,
        shutdown_grace,
        reload,
        logging,
        observe,
        history,
        lanes,
        throttles,
        warnings: Vec::new(),
    })
}

fn lanes_and_throttles(
    reading: &mut Reading<'_>,
    root: &Section<'_>,
    slots: u32,
    defaults: Option<DefaultLanes>,
) -> (Vec<Lane>, Vec<Throttle>) {
    let written = throttles::throttles(reading, root);
    match (lanes::lanes(reading, root, slots), defaults) {
        (Some(lanes), _) => (lanes, written.unwrap_or_default()),
        (None, Some(defaults)) => {
            let lanes = defaults
                .lanes
                .into_iter()
                .map(|lane| fitted(lane, slots))
                .collect();
            (lanes, written.unwrap_or(defaults.throttles))
        }
        (None, None) => (
            vec![Lane::with_defaults(crate::lane::DEFAULT_LANE, slots)],
            written.unwrap_or_default(),
        ),
    }
}

/// A default lane under a smaller total than it was written for. Nobody wrote its numbers, so they give way.
fn fitted(mut lane: Lane, slots: u32) -> Lane {
    lane.maximum = lane.maximum.min(slots);
    // The default file's minima add up to less than ten.
    if slots < 10 {
        lane.minimum = 0;
    }
    lane
}

/// Whether the node is a scalar.
pub(crate) fn is_word(node: &Node) -> bool {
    matches!(node.value, Value::Word(_))
}
