//! A real browser, driven by the `DevTools` protocol over two pipes: <https://chromedevtools.github.io/devtools-protocol/>.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// On a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(1);

/// What comes where something went wrong.
const COMPLAINTS: [&str; 4] =
    ["Log.entryAdded", "Page.javascriptDialogOpening", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];

/// A browser with one page open.
pub(crate) struct Chromium {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    sent: u64,
    session: Option<String>,
    /// What came unasked.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Chromium {
    /// Starts it; nothing, where `cargo xtask test` has not said where it is.
    pub(crate) fn start() -> Result<Option<Self>> {
        let Some(program) = env::var_os("OOMTRACE_CHROMIUM") else {
            println!("there is no browser: OOMTRACE_CHROMIUM is not set");
            return Ok(None);
        };
        let profile = tempfile::tempdir()?;
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args(["--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take().context("no pipe to it")?;
        let mut answers = BufReader::new(child.stdout.take().context("no pipe from it")?);
        let (tell, messages) = mpsc::channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                let read = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message));
                if read.is_ok_and(|message| tell.send(message).is_err()) {
                    return;
                }
                message.clear();
            }
        });
        let mut browser =
            Self { child, commands, messages, sent: 0, session: None, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))?["targetId"].clone();
        let session = browser.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}))?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "DOM"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        // A zone that is not UTC, so that times in the reader's own are shown.
        browser.call("Emulation.setTimezoneOverride", &json!({"timezoneId": "Asia/Kolkata"}))?;
        Ok(Some(browser))
    }

    /// Calls a method, and gives its result.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.sent += 1;
        let id = self.sent;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(&[command.to_string().as_bytes(), &[0]].concat())?;
        loop {
            let message = self.messages.recv_timeout(PATIENCE).with_context(|| format!("no answer to {method}"))?;
            if message["id"] == id {
                ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Ok(message["result"].clone());
            }
            self.events.push(message);
        }
    }

    /// How wide the window is, and whether it is dark.
    pub(crate) fn look(&mut self, width: u32, scheme: &str) -> Result<()> {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &metrics)?;
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}))?;
        Ok(())
    }

    /// Opens a page, and waits until it is loaded. Gives how long that took until it was drawn.
    pub(crate) fn open(&mut self, url: &str) -> Result<Duration> {
        let started = Instant::now();
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        let answer = self.call("Page.navigate", &json!({"url": url}))?;
        ensure!(answer["errorText"].is_null(), "{url}: {answer}");
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let message = self.messages.recv_timeout(PATIENCE).with_context(|| format!("{url} does not load"))?;
            self.events.push(message);
        }
        self.run("new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))")?;
        Ok(started.elapsed())
    }

    /// What an expression gives in the page.
    pub(crate) fn run(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &parameters)?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_until(&mut self, expression: &str) -> Result<()> {
        let started = Instant::now();
        while self.run(expression)? != json!(true) {
            if started.elapsed() > PATIENCE {
                bail!("waited in vain for {expression}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Presses a key, with the text that it types.
    pub(crate) fn press(&mut self, key: &str, code: u32, text: &str) -> Result<()> {
        let down = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", &down)?;
        self.call("Input.dispatchKeyEvent", &json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}))?;
        Ok(())
    }

    /// Types text where the focus is.
    pub(crate) fn write(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", &json!({"text": text})).map(drop)
    }

    /// What went wrong since it was started: dialogs, exceptions, and what the console has.
    pub(crate) fn complaints(&mut self) -> Result<Vec<String>> {
        // What is on its way comes before the answer.
        self.run("0")?;
        let is_complaint = |event: &&Value| event["method"].as_str().is_some_and(|method| COMPLAINTS.contains(&method));
        Ok(self.events.iter().filter(is_complaint).map(Value::to_string).collect())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
