//! Secrets as people give them: from a file, a pipe, or typed without being shown. Never from the command line, which
//! whoever looks at processes reads.

use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longest secret.
const SECRET_BYTES_MAX: u64 = 8 * 1024;

/// The secret from a file, else from standard input; less one line end. A person at a terminal is asked for it.
///
/// # Errors
/// Where there is none, or it is too long or no text.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    let text = match file {
        Some(path) => {
            let shown = path.display();
            let file = File::open(path).with_context(|| format!("read `{shown}`"))?;
            bounded(file).with_context(|| format!("read the secret from `{shown}`"))?
        }
        None if stdin.is_terminal() => typed()?,
        None => bounded(stdin.lock()).context("read the secret from standard input")?,
    };
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        match file {
            Some(path) => bail!("`{}` holds no secret", path.display()),
            None => bail!("standard input held no secret"),
        }
    }
    Ok(Zeroizing::new(secret.to_owned()))
}

fn bounded(from: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = from.take(SECRET_BYTES_MAX + 3).read_to_string(&mut text)?;
    if u64::try_from(read)? > SECRET_BYTES_MAX + 2 {
        bail!("it has more than {SECRET_BYTES_MAX} bytes");
    }
    Ok(text)
}

/// A line that the terminal does not show.
fn typed() -> anyhow::Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    let hidden = Hidden::new()?;
    eprint!("Secret (not shown): ");
    std::io::stderr().flush()?;
    let mut text = Zeroizing::new(String::new());
    let read = stdin.lock().take(SECRET_BYTES_MAX).read_line(&mut text);
    drop(hidden);
    eprintln!();
    read.context("read the secret from the terminal")?;
    Ok(text)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> anyhow::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).context("the terminal's settings")?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)
            .context("the terminal cannot hide what is typed")?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let restored = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
        if restored.is_err() {
            eprintln!("actpass: the terminal still hides what is typed; run `stty echo`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_from_a_file_is_its_text_less_one_line_end() {
        struct Case {
            name: &'static str,
            given: Vec<u8>,
            want: Option<&'static str>,
        }
        let cases = [
            Case {
                name: "a line",
                given: b"s3cret\n".to_vec(),
                want: Some("s3cret"),
            },
            Case {
                name: "of another system",
                given: b"s3cret\r\n".to_vec(),
                want: Some("s3cret"),
            },
            Case {
                name: "without an end",
                given: b" s3cret ".to_vec(),
                want: Some(" s3cret "),
            },
            Case {
                name: "an empty line",
                given: b"\n".to_vec(),
                want: None,
            },
            Case {
                name: "no text",
                given: vec![0xff],
                want: None,
            },
            Case {
                name: "too long",
                given: vec![b'a'; 9_000],
                want: None,
            },
        ];
        let dir = tempfile::tempdir().unwrap();
        for Case { name, given, want } in cases {
            let path = dir.path().join("secret");
            std::fs::write(&path, given).unwrap();
            let read = read(Some(&path)).ok();
            assert_eq!(read.as_deref().map(String::as_str), want, "{name}");
        }
    }
}
