//! A headless browser, spoken to by the DevTools protocol over a pipe.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Folder, PATIENCE, is_there};

/// By these names browsers of that kind are installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// How long between two looks at what should change.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A browser with one page.
pub(super) struct Browser {
    child: Child,
    said: Option<ChildStdin>,
    messages: Receiver<Value>,
    next: u64,
    session: String,
    /// Messages that answered no question of ours: what happened in the page.
    pub(super) happened: VecDeque<Value>,
    _profile: Folder,
}

impl Browser {
    /// One with an empty page; `None` where there is no browser.
    pub(super) fn start() -> Option<Self> {
        let program = NAMES
            .into_iter()
            .find(|name| Command::new(name).arg("--version").output().is_ok());
        let Some(program) = program else {
            is_there(NAMES[0]);
            return None;
        };
        let profile = Folder::new();
        // Messages come in by descriptor 3 and go out by 4.
        let script = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";
        let mut child = Command::new("sh")
            .args([
                "-c",
                script,
                "sh",
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let messages = listen(child.stdout.take().unwrap());
        let mut browser = Self {
            said: child.stdin.take(),
            child,
            messages,
            next: 0,
            session: String::new(),
            happened: VecDeque::new(),
            _profile: profile,
        };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let page = page["targetId"].clone();
        let attached = browser.ask(
            "Target.attachToTarget",
            json!({ "targetId": page, "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in [
            "Page.enable",
            "Network.enable",
            "Runtime.enable",
            "Log.enable",
        ] {
            browser.ask(domain, json!({}));
        }
        Some(browser)
    }

    /// Asks for something, and waits for the answer.
    pub(super) fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.said.as_mut().unwrap().write_all(&bytes).unwrap();
        loop {
            let answer = self.messages.recv_timeout(PATIENCE);
            let answer = answer.unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.happened.push_back(answer);
        }
    }

    /// Opens a page.
    pub(super) fn open(&mut self, url: &str) {
        self.ask("Page.navigate", json!({ "url": url }));
    }

    /// What an expression is in the page.
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", asked);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    pub(super) fn until(&mut self, expression: &str) {
        for _ in 0..PATIENCE.as_millis() / LOOK_AGAIN.as_millis() {
            if self.value(expression) == json!(true) {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let body = "document.body ? document.body.innerText.slice(0, 3000) : ''";
        let shown = self.value(body);
        panic!(
            "never true: {expression}\n{}",
            shown.as_str().unwrap_or_default()
        );
    }

    /// A window of this size, dark or light.
    pub(super) fn looks(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }
}

/// The messages of a browser, which a NUL ends.
fn listen(out: ChildStdout) -> Receiver<Value> {
    let mut out = BufReader::new(out);
    let (sender, messages) = sync_channel(10_000);
    std::thread::spawn(move || {
        let mut message = Vec::new();
        while out.read_until(0, &mut message).is_ok_and(|read| read > 0) {
            message.pop();
            let value = serde_json::from_slice(&message);
            message.clear();
            if value.is_ok_and(|value| sender.send(value).is_err()) {
                return;
            }
        }
    });
    messages
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without its pipe it ends, and its helpers with it.
        drop(self.said.take());
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
