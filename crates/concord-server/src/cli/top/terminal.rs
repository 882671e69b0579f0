//! The terminal: taken when the picture begins, and given back as it was however it ends.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::OnceLock;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::lines::{Line, Style};
use crate::cli::error::CliError;

/// A screen of its own, without a cursor, and without breaking long lines.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HELP: &str = "q quit   h hot prefixes";

/// How the terminal was before: also what a panic gives back.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Hot,
    /// The window has another size, or nobody knows what was pressed.
    Redraw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The terminal in our hands. Dropped, it is as it was.
#[derive(Debug)]
pub(super) struct Terminal {
    has_keys: bool,
}

impl Terminal {
    /// Takes the terminal; with `has_keys`, single keys come through without a new line.
    pub(super) fn enter(has_keys: bool) -> Result<Self, CliError> {
        if has_keys {
            let before = tcgetattr(io::stdin()).map_err(|e| CliError::io("the terminal", e.into()))?;
            let mut raw = before.clone();
            raw.make_raw();
            // The first to ask knows how it was; a process takes the terminal once.
            let _ = BEFORE.set(before);
            tcsetattr(io::stdin(), OptionalActions::Flush, &raw)
                .map_err(|e| CliError::io("the terminal", e.into()))?;
        }
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A message on the other screen would be gone with it.
            give_back();
            earlier(panic);
        }));
        write(ENTER);
        Ok(Self { has_keys })
    }

    pub(super) fn size(&self) -> Size {
        let size = tcgetwinsize(io::stdout()).ok();
        let or = |count: Option<u16>, usual: usize| match count {
            None | Some(0) => usual,
            Some(count) => usize::from(count),
        };
        Size {
            columns: or(size.map(|size| size.ws_col), 80),
            rows: or(size.map(|size| size.ws_row), 24),
        }
    }

    /// What happens at the terminal from now on.
    pub(super) fn events(&self) -> Result<Events, CliError> {
        let on = |kind| signal(kind).map_err(|e| CliError::io("signals", e));
        let (send, keys) = mpsc::channel(16);
        if self.has_keys {
            // A thread, as reading a terminal waits; it ends with the process.
            std::thread::spawn(move || {
                let mut byte = [0_u8; 1];
                while matches!(io::stdin().read(&mut byte), Ok(1)) {
                    if send.blocking_send(key(byte[0])).is_err() {
                        return;
                    }
                }
                let _ = send.blocking_send(Key::Quit);
            });
        }
        Ok(Events {
            keys,
            has_keys: self.has_keys,
            window: on(SignalKind::window_change())?,
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
        drop(std::panic::take_hook());
    }
}

fn give_back() {
    write(LEAVE);
    if let Some(before) = BEFORE.get() {
        // Nothing can be done about a terminal that does not take it.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
    }
}

fn write(sequence: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(sequence.as_bytes()).and_then(|()| out.flush());
}

fn key(byte: u8) -> Key {
    match byte {
        // Ctrl-C and Ctrl-D come as keys from a raw terminal.
        b'q' | b'Q' | 3 | 4 => Key::Quit,
        b'h' | b'H' => Key::Hot,
        _ => Key::Redraw,
    }
}

/// Keys and signals.
#[derive(Debug)]
pub(super) struct Events {
    keys: mpsc::Receiver<Key>,
    has_keys: bool,
    window: Signal,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Events {
    /// What comes next. Nothing is lost when it is not waited for to the end.
    pub(super) async fn next(&mut self) -> Key {
        tokio::select! {
            biased;
            // Who sends a signal does not mean to wait.
            _ = self.interrupt.recv() => Key::Quit,
            _ = self.terminate.recv() => Key::Quit,
            _ = self.hangup.recv() => Key::Quit,
            key = self.keys.recv(), if self.has_keys => key.unwrap_or(Key::Quit),
            _ = self.window.recv() => Key::Redraw,
        }
    }
}

/// A picture as bytes for the terminal: every line anew, what was behind it wiped, nothing below the window.
pub(super) fn picture(lines: &[Line], size: Size) -> Vec<u8> {
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    drawn(lines, size, has_colours && io::stdout().is_terminal())
}

fn drawn(lines: &[Line], size: Size, has_colours: bool) -> Vec<u8> {
    let mut out = b"\x1b[H".to_vec();
    let room = size.rows.saturating_sub(1);
    for line in lines.iter().take(room) {
        draw(&mut out, line.text(), line.style, has_colours);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\x1b[J");
    out.extend_from_slice(format!("\x1b[{};1H", size.rows).as_bytes());
    let help: String = HELP.chars().take(size.columns).collect();
    draw(&mut out, &help, Style::Faint, has_colours);
    out
}

fn draw(out: &mut Vec<u8>, text: &str, style: Style, has_colours: bool) {
    let code = match style {
        Style::Plain => "",
        Style::Head => "\x1b[1m",
        Style::Good => "\x1b[32m",
        Style::Bad => "\x1b[31m",
        Style::Faint => "\x1b[2m",
    };
    let code = if has_colours { code } else { "" };
    // Before the text: behind a line that fills the window it would wipe its last character.
    out.extend_from_slice(b"\x1b[K");
    out.extend_from_slice(code.as_bytes());
    out.extend_from_slice(text.as_bytes());
    if !code.is_empty() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_mean_leaving_leave() {
        for byte in [b'q', b'Q', 3, 4] {
            assert_eq!(key(byte), Key::Quit);
        }
        assert_eq!(key(b'h'), Key::Hot);
        assert_eq!(key(27), Key::Redraw);
    }

    #[test]
    fn a_picture_never_scrolls_the_window() {
        let lines: Vec<Line> = super::super::lines::of(&super::super::lines::tests::three_nodes(), 80);
        assert!(lines.len() > 5);
        for rows in [1, 2, 5, 50] {
            let drawn = drawn(&lines, Size { columns: 80, rows }, false);
            let breaks = drawn.iter().filter(|byte| **byte == b'\n').count();
            assert!(breaks < rows, "{breaks} in {rows}");
        }
    }
}
