//! A browser without a window, told what to do through two named pipes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::prelude::*;
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Seconds that no test takes.
const LIMIT: &str = "300";

/// Chromium with one page.
pub(super) struct Browser {
    process: Child,
    orders: File,
    answers: BufReader<File>,
    session: String,
    number: u64,
    /// What the page did that it should not.
    pub(super) complaints: Vec<String>,
    _folder: TempDir,
}

/// The browser's name, if it is here. Where `SIDESTEP_NEEDS_BROWSER` is set it has to be.
fn program() -> Option<&'static str> {
    let runs =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|run| run.status.success());
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs);
    if found.is_none() {
        assert!(std::env::var_os("SIDESTEP_NEEDS_BROWSER").is_none(), "chromium is not installed");
        eprintln!("SKIPPED: no page is looked at in a browser: chromium is not installed");
    }
    found
}

impl Browser {
    /// Opens one, if there is one.
    pub(super) fn open() -> Option<Browser> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| -> PathBuf {
            let path = folder.path().join(name);
            mkfifo(&path, Mode::S_IRWXU).unwrap();
            path
        };
        let (orders, answers) = (pipe("orders"), pipe("answers"));
        // Its descriptors 3 and 4 are for orders and answers. A test that hangs ends with it.
        let line = "exec timeout \"$0\" \"$@\" 3<\"$ORDERS\" 4>\"$ANSWERS\"";
        let process = Command::new("sh")
            .args(["-c", line, LIMIT, program, "--headless=new", "--no-sandbox", "--remote-debugging-pipe"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg("about:blank")
            .envs([("ORDERS", &orders), ("ANSWERS", &answers)])
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let orders = OpenOptions::new().write(true).open(orders).unwrap();
        let answers = BufReader::new(File::open(answers).unwrap());
        let mut browser = Browser {
            process,
            orders,
            answers,
            session: String::new(),
            number: 0,
            complaints: Vec::new(),
            _folder: folder,
        };
        let target =
            browser.order("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.order("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.order(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Does what is said, and waits for the answer.
    pub(super) fn order(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut order = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.as_str().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).unwrap();
        loop {
            let message = self.message();
            if message["id"] == self.number {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser is gone");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown" | "Log.entryAdded" | "Page.javascriptDialogOpening") => {
                self.complaints.push(message["params"].to_string());
            }
            Some("Network.requestWillBeSent") => {
                let url = message["params"]["request"]["url"].as_str().unwrap_or_default();
                if !(url.starts_with("file:") || url == "about:blank") {
                    self.complaints.push(format!("it asks for {url}"));
                }
            }
            _ => {}
        }
        message
    }

    /// Shows a page in a window of that size.
    pub(super) fn show(&mut self, page: &Path, size: (u32, u32), scheme: &str) {
        let (width, height) = size;
        let window =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.order("Emulation.setDeviceMetricsOverride", window);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.order("Emulation.setEmulatedMedia", json!({ "features": features }));
        self.order("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        while self.message()["method"] != "Page.loadEventFired" {}
        assert!(self.complaints.is_empty(), "{:?}", self.complaints);
    }

    /// What an expression of the page's script is, once what it promises has come.
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.order("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    pub(super) fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(&format!("Number({expression})"));
        value.as_f64().unwrap_or_else(|| panic!("{expression} is no number: {value}"))
    }

    pub(super) fn text(&mut self, expression: &str) -> String {
        self.value(&format!("String({expression})")).as_str().unwrap().to_owned()
    }

    /// Waits until what was asked for is drawn.
    pub(super) fn settle(&mut self) {
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
    }

    pub(super) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.order("Input.dispatchKeyEvent", json!({ "type": kind, "key": key }));
        }
        self.settle();
    }

    pub(super) fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let buttons = i32::from(kind != "mouseReleased");
        let event =
            json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
        self.order("Input.dispatchMouseEvent", event);
    }

    /// A picture of the page's first screens, as PNG.
    pub(super) fn picture(&mut self) -> Vec<u8> {
        let (width, height) = (self.number("innerWidth"), self.number("document.body.scrollHeight"));
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height.min(1800.0), "scale": 1 });
        let how = json!({ "captureBeyondViewport": true, "clip": clip });
        let taken = self.order("Page.captureScreenshot", how);
        BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.process.id() as i32), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}
