//! A browser that looks at pages in the lab's network: Debian's chromium, without a screen, led by its driver (W3C WebDriver).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::{Lab, Running};

/// Where the driver listens, in the lab's network alone.
const DRIVER: &str = "http://127.0.0.1:9515";

/// The name of an element's identifier in answers (WebDriver, "Elements").
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Whether there is one on this computer.
pub(crate) fn is_there() -> bool {
    ["chromium", "chromedriver"]
        .iter()
        .all(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
}

/// A browser with one window.
pub(crate) struct Browser<'l> {
    lab: &'l Lab,
    driver: Running,
    session: String,
}

impl<'l> Browser<'l> {
    /// Opens one in the network of a lab.
    pub(crate) fn open(lab: &'l Lab) -> Self {
        let mut driver = lab.start_command(&["chromedriver", "--port=9515"]);
        driver.until("started successfully");
        let profile = lab.folder().join("browser");
        // Whoever runs these tests is root, for whom its sandbox does not work.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1400,900",
            "--lang=en",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let options = json!({ "args": arguments });
        let wanted =
            json!({ "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": options });
        let mut browser = Self { lab, driver, session: String::new() };
        let session = browser.ask("/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// Goes to an address.
    pub(crate) fn go(&self, address: &str) {
        self.ask(&format!("{}/url", self.session), &json!({ "url": address }));
    }

    /// Types into the element that a CSS selector finds.
    pub(crate) fn types(&self, selector: &str, text: &str) {
        let found = json!({ "using": "css selector", "value": selector });
        let element = self.ask(&format!("{}/element", self.session), &found);
        let element = element[ELEMENT].as_str().unwrap();
        self.ask(&format!("{}/element/{element}/value", self.session), &json!({ "text": text }));
    }

    /// Presses the button that says this.
    pub(crate) fn press(&self, label: &str) {
        let found = json!({ "using": "xpath", "value": format!("//button[normalize-space()='{label}']") });
        let element = self.ask(&format!("{}/element", self.session), &found);
        let element = element[ELEMENT].as_str().unwrap();
        self.ask(&format!("{}/element/{element}/click", self.session), &json!({}));
    }

    /// The text of the page, as it is shown.
    pub(crate) fn text(&self) -> String {
        let script = json!({ "script": "return document.body.innerText", "args": [] });
        self.ask(&format!("{}/execute/sync", self.session), &script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows a text.
    pub(crate) fn shows(&self, wanted: &str) -> String {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if text.contains(wanted) {
                return text;
            }
            if begun.elapsed() > Duration::from_secs(60) {
                let picture = self.picture("what-was-not-expected");
                panic!("no {wanted:?} in {}: {text}", picture.display());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Takes a picture of the page, and says where it is: in the folder that `MUSTER_SCREENSHOTS` names, or that of tests.
    pub(crate) fn picture(&self, name: &str) -> PathBuf {
        let folder = std::env::var_os("MUSTER_SCREENSHOTS").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots"));
        fs::create_dir_all(&folder).unwrap();
        let encoded = self.answer(&["-s", &format!("{DRIVER}{}/screenshot", self.session)]);
        let encoded_file = folder.join(format!("{name}.base64"));
        fs::write(&encoded_file, encoded.as_str().unwrap()).unwrap();
        let decoded = Command::new("base64").arg("-d").arg(&encoded_file).output().unwrap();
        let path = folder.join(format!("{name}.png"));
        fs::write(&path, decoded.stdout).unwrap();
        fs::remove_file(encoded_file).unwrap();
        path
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        // Through a file: a token is nothing for the arguments of a process.
        let file = self.lab.folder().join("webdriver.json");
        fs::write(&file, body.to_string()).unwrap();
        let data = format!("@{}", file.display());
        self.answer(&["-s", "-H", "Content-Type: application/json", "-d", &data, &format!("{DRIVER}{path}")])
    }

    fn answer(&self, arguments: &[&str]) -> Value {
        let ended = self.lab.exec(&[&["curl"], arguments].concat());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:#?}");
        let answer: Value = serde_json::from_str(&ended.out).unwrap();
        assert!(answer["value"]["error"].is_null(), "{arguments:?}: {answer:#}");
        answer["value"].clone()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        self.driver.signal("TERM");
    }
}
