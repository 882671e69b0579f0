//! Chromium without a window, driven by its own protocol over two pipes: JSON, a zero byte after each message
//! (<https://chromedevtools.github.io/devtools-protocol/>). No port, no driver to install.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Failure;

/// How long it may take for one answer. A step of the walk gives up before.
const PATIENCE: Duration = Duration::from_secs(90);

/// The browser reads from descriptor 3 and writes to 4.
const WITH_PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// A browser with one page.
#[derive(Debug)]
pub(super) struct Browser {
    child: Child,
    requests: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    complaints: Vec<String>,
}

impl Browser {
    /// Starts one that keeps what it keeps in `profile`.
    pub(super) fn start(program: &Path, profile: &Path) -> Result<Self, Failure> {
        let mut child = Command::new("sh")
            .args(["-c", WITH_PIPES])
            .arg(program)
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--no-first-run", "--window-size=1200,800"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the browser has no pipes".to_owned());
        };
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else {
                    return;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            requests,
            messages,
            last_id: 0,
            session: None,
            complaints: Vec::new(),
        })
    }

    /// Opens a page and waits until it is loaded.
    pub(super) fn open(&mut self, url: &str) -> Result<(), Failure> {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let wanted = json!({"targetId": at(&target, "/targetId"), "flatten": true});
        let attached = self.call("Target.attachToTarget", &wanted)?;
        self.session = at(&attached, "/sessionId").as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, &json!({}))?;
        }
        self.call("Page.navigate", &json!({"url": url}))?;
        while at(&self.message()?, "/method") != "Page.loadEventFired" {}
        Ok(())
    }

    /// The value of an expression, once it is there if it is a promise.
    pub(super) fn evaluate(&mut self, expression: &str) -> Result<Value, Failure> {
        let wanted = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &wanted)?;
        match answer.pointer("/exceptionDetails/exception/description") {
            Some(thrown) => Err(thrown.as_str().unwrap_or("something was thrown").to_owned()),
            None => Ok(at(&answer, "/result/value").clone()),
        }
    }

    /// The page as a PNG image.
    pub(super) fn screenshot(&mut self) -> Result<Vec<u8>, Failure> {
        let image = self.call("Page.captureScreenshot", &json!({}))?;
        let data = at(&image, "/data").as_str().ok_or("no image")?;
        STANDARD.decode(data).map_err(|e| e.to_string())
    }

    /// What pages have complained of: exceptions that nobody caught, what a policy has stopped. Not answers that are refusals.
    pub(super) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, Failure> {
        self.last_id = self.last_id.wrapping_add(1);
        let request = match &self.session {
            None => json!({"id": self.last_id, "method": method, "params": parameters}),
            Some(session) => {
                json!({"id": self.last_id, "sessionId": session, "method": method, "params": parameters})
            }
        };
        let sent = self.requests.write_all(format!("{request}\0").as_bytes());
        sent.map_err(|e| format!("the browser takes no requests: {e}"))?;
        loop {
            let message = self.message()?;
            if *at(&message, "/id") == self.last_id {
                return match message.get("error") {
                    Some(error) => Err(format!("{method}: {error}")),
                    None => Ok(at(&message, "/result").clone()),
                };
            }
        }
    }

    fn message(&mut self) -> Result<Value, Failure> {
        let message = self.messages.recv_timeout(PATIENCE);
        let message = message.map_err(|e| format!("the browser does not answer: {e}"))?;
        match at(&message, "/method").as_str() {
            Some("Runtime.exceptionThrown") => {
                let thrown = at(&message, "/params/exceptionDetails");
                let text = thrown
                    .pointer("/exception/description")
                    .unwrap_or(at(thrown, "/text"));
                self.complaints.push(text.to_string());
            }
            Some("Log.entryAdded") => {
                let entry = at(&message, "/params/entry");
                if at(entry, "/level") == "error" && at(entry, "/source") != "network" {
                    self.complaints.push(at(entry, "/text").to_string());
                }
            }
            _ => {}
        }
        Ok(message)
    }
}

/// What is there, or nothing.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already, which is what this asks for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
