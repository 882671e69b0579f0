//! `console`: the web console, used in a browser without a window as somebody would use it.
//!
//! A node of its own with authentication, on a free port, in a directory that goes when this ends. Apart from `ci`, because
//! it needs a Chromium, and nothing but Rust and a C compiler is needed for that.

mod browser;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use browser::Browser;

use crate::args::Args;
use crate::shell::say;
use crate::{Failure, cluster};

const WALK: &str = include_str!("console/walk.js");
/// Of a node that nobody else can reach and that is gone in a minute.
const ROOT: &str = "sk_concord_b2YtdGhlLXdhbGsgb2YtdGhlLXdhbGsgb2YtdGhlLXc";
const STEPS: [&str; 6] = [
    "asks for a token",
    "shows the cluster",
    "creates, changes and shows keys as they are",
    "follows changes",
    "makes and revokes tokens",
    "makes and removes tenants",
];

/// The `console` command.
pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let chromium: Option<PathBuf> = args.value("--chromium")?;
    let pictures: Option<PathBuf> = args.value("--pictures")?;
    args.finish()?;
    let chromium = chromium.map_or_else(find, Ok)?;
    let binary = cluster::build(false)?;
    let dir = std::env::temp_dir().join(format!("concord-console-{}", std::process::id()));
    let outcome = in_directory(&dir, &binary, &chromium, pictures.as_deref());
    // What a killed browser leaves is nobody's.
    let _ = std::fs::remove_dir_all(&dir);
    outcome
}

fn find() -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|program| program.is_file())
        .ok_or_else(|| "there is no Chromium on the PATH; say where with --chromium PATH".to_owned())
}

fn in_directory(dir: &Path, binary: &Path, chromium: &Path, pictures: Option<&Path>) -> Result<(), Failure> {
    let token_file = dir.join("root");
    let as_failure = |e: std::io::Error| e.to_string();
    std::fs::create_dir_all(dir).map_err(as_failure)?;
    private(&token_file, ROOT).map_err(as_failure)?;
    let node = Node::start(binary, dir, &token_file)?;
    let mut browser = Browser::start(chromium, &dir.join("browser"))?;
    browser.open(&format!("http://{}/console/", node.address))?;
    browser.evaluate(WALK)?;
    for (number, step) in STEPS.iter().enumerate() {
        let expression = format!("walk[{step:?}]({ROOT:?})");
        let walked = browser.evaluate(&expression);
        if let Some(pictures) = pictures {
            picture(&mut browser, pictures, number)?;
        }
        walked.map_err(|failure| format!("the console {step}: no. {failure}"))?;
        say(&format!("the console {step}"));
    }
    match browser.complaints() {
        [] => Ok(()),
        complaints => Err(format!("the browser complains: {}", complaints.join("; "))),
    }
}

/// Writes what is seen, for people to look at.
fn picture(browser: &mut Browser, dir: &Path, number: usize) -> Result<(), Failure> {
    let image = browser.screenshot()?;
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(dir.join(format!("{number}.png")), image))
        .map_err(|e| format!("{}: {e}", dir.display()))
}

fn private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// A node, killed when this is dropped.
#[derive(Debug)]
struct Node {
    child: Child,
    address: String,
}

impl Node {
    fn start(binary: &Path, dir: &Path, token_file: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(binary)
            .args(["start", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(dir.join("data"))
            .env("CONCORD_AUTH_MODE", "on")
            .env("CONCORD_AUTH_ROOT_TOKEN_FILE", token_file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot run {}: {e}", binary.display()))?;
        let output = child.stdout.take().ok_or("the node has no output")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("http listening on ").map(str::to_owned));
        let node = Self {
            child,
            address: address.unwrap_or_default(),
        };
        if node.address.is_empty() {
            return Err("the node ended before it listened".to_owned());
        }
        // It may say more, to nobody.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(node)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already, which is what this asks for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
