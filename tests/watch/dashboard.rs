//! The dashboard in a real browser: it shows the lanes, follows them, and asks nobody but its proxy for anything.

use serde_json::json;
use tokio::task::spawn_blocking;

use super::browser::Browser;
use super::{TOKEN, World};

/// What the browser asked for that is not this proxy's, and what it complained of.
fn complaints(browser: &mut Browser, origin: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for message in browser.happened.drain(..) {
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                let own = [origin, "data:", "about:"]
                    .iter()
                    .any(|own| url.starts_with(own));
                if !own {
                    wrong.push(format!("asked for {url}"));
                }
            }
            // The stream of a connection whose time is up breaks off, and is asked for anew.
            Some("Log.entryAdded") if parameters["entry"]["source"] == "network" => {}
            Some("Runtime.exceptionThrown" | "Log.entryAdded") => {
                wrong.push(parameters.to_string())
            }
            _ => {}
        }
    }
    wrong
}

/// Does something in the browser, while the proxy goes on.
async fn look<T: Send + 'static>(
    mut browser: Browser,
    work: impl FnOnce(&mut Browser) -> T + Send + 'static,
) -> (Browser, T) {
    let done = spawn_blocking(move || {
        let outcome = work(&mut browser);
        (browser, outcome)
    });
    done.await.unwrap()
}

#[tokio::test]
async fn the_dashboard_shows_the_lanes_live_and_loads_nothing_from_elsewhere() {
    let world = World::start().await;
    let origin = format!("http://{}/", world.http);
    let Some(browser) = spawn_blocking(Browser::start).await.unwrap() else {
        return world.end().await;
    };
    let memory = world.client("memory").await;
    memory.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let page = origin.clone();
    let (browser, lanes) = look(browser, move |browser| {
        browser.looks(1280, 900, "light");
        browser.open(&page);
        browser.until("document.querySelectorAll('#lanes .lane').length === 3");
        browser
            .until("document.querySelector('#sessions').innerText.includes('idle in transaction')");
        browser.value("document.querySelector('#lanes').innerText")
    })
    .await;
    let lanes = lanes.as_str().unwrap_or_default();
    for name in ["evaluation", "memory", "default"] {
        assert!(lanes.contains(name), "{lanes}");
    }
    // It follows: a protected session comes, and the other lane yields.
    let evaluation = world.client("evaluation").await;
    let (browser, ()) = look(browser, |browser| {
        browser.until("document.querySelector('#throttles').innerText.includes('holds back')");
        browser.until("document.querySelector('#sessions').innerText.includes('evaluation')");
    })
    .await;
    // What gets worse is told at once: a reload that does not hold.
    world
        .proxy
        .handle()
        .reload_refused("the file does not hold")
        .await;
    let (browser, ()) = look(browser, |browser| {
        browser.until(
            "document.querySelector('#warnings').innerText.includes('lanes.yaml does not hold')",
        );
        browser
            .until("document.querySelector('#warnings').innerText.includes('pglanes check says')");
    })
    .await;
    memory.batch_execute("COMMIT").await.unwrap();
    drop((evaluation, memory));
    let (browser, wrong) = look(browser, move |browser| {
        browser.until("!document.querySelector('#throttles').innerText.includes('holds back')");
        on_a_phone_in_the_dark(browser);
        pauses_a_lane(browser);
        complaints(browser, &origin)
    })
    .await;
    assert_eq!(wrong, Vec::<String>::new());
    let paused = world.proxy.view().await.operated.paused_lanes;
    assert_eq!(paused, [world.proxy.lane("memory")]);
    spawn_blocking(move || drop(browser)).await.unwrap();
    world.end().await;
}

/// Nothing sticks out of a phone's screen, and the colours follow the system.
fn on_a_phone_in_the_dark(browser: &mut Browser) {
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(ground);
    browser.looks(390, 844, "dark");
    browser.until("document.scrollingElement.scrollWidth <= window.innerWidth");
    assert_ne!(browser.value(ground), light);
    browser.looks(1280, 900, "light");
}

/// By keyboard and with the token, as a person would.
fn pauses_a_lane(browser: &mut Browser) {
    let typed = format!(
        "{{ const token = document.querySelector('#token'); token.value = {TOKEN:?}; \
         token.dispatchEvent(new Event('input', {{ bubbles: true }})); true }}"
    );
    assert_eq!(browser.value(&typed), json!(true));
    let button = "document.querySelector('button[aria-label=\"pause memory\"]')";
    browser.until(&format!(
        "{button} !== null && getComputedStyle({button}).display !== 'none'"
    ));
    browser.value(&format!("{button}.click()"));
    browser.until("document.querySelector('#answer').innerText.startsWith('Done')");
    browser.until("document.querySelector('#lanes').innerText.includes('paused')");
}
