//! Commands on the node: a small server there ([`Server`]), reached through a port of this machine's loopback address, and its
//! client. It does not depend on the kubelet, nor on anything else that scenarios break.
//!
//! A client sends a line of JSON ([`Request`]) and then frames of standard input; it gets frames of output and, last, the exit
//! status. A frame is a byte for its kind, four for its length (big endian), and that many bytes. The command dies with its
//! connection.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

/// Where the server listens on the node.
pub(super) const PORT: u16 = 2222;
/// How long a node may keep us waiting for a connection; a command may take as long as it wants.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

const STDIN: u8 = b'0';
const STDOUT: u8 = b'1';
const STDERR: u8 = b'2';
const EXIT: u8 = b'x';

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// As a shell has it: 128 and the signal's number where a signal ended the command.
    pub(crate) status: u8,
    /// What it printed on its standard output.
    pub(crate) stdout: String,
    /// What it printed on its standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// The standard output of a command that succeeded; an error, with what it said, of one that failed.
    pub(crate) fn success(self) -> Result<String> {
        let Self { status, stdout, stderr } = self;
        if status != 0 {
            let said = if stderr.is_empty() { &stdout } else { &stderr };
            bail!("exit status {status}: {}", said.trim_end());
        }
        Ok(stdout)
    }
}

/// A command for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    /// Shows that the client may.
    token: String,
    /// What `bash -c` gets.
    command: String,
    /// Rows and columns, where the command wants a terminal.
    terminal: Option<(u16, u16)>,
}

impl Request {
    fn to_json(&self) -> Value {
        json!({"token": self.token, "command": self.command, "terminal": self.terminal.map(|(rows, columns)| [rows, columns])})
    }

    fn parse(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line).context("a request is a line of JSON")?;
        let word = |name: &str| value[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        let size = |position: usize| value["terminal"][position].as_u64().and_then(|size| u16::try_from(size).ok());
        Ok(Self { token: word("token")?, command: word("command")?, terminal: size(0).zip(size(1)) })
    }
}

/// The client's end: where the server of a node is reached, and what it wants to see.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) port: u16,
    pub(super) token: String,
}

impl Client {
    /// Runs a command, with this on its standard input.
    pub(super) fn run(&self, command: &str, input: impl Read + Send + 'static) -> Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = self.stream(command, None, input, &mut stdout, &mut stderr)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
    }

    /// The same with bytes as they come, and in a terminal if one is wanted.
    pub(super) fn stream(
        &self,
        command: &str,
        terminal: Option<(u16, u16)>,
        mut input: impl Read + Send + 'static,
        mut stdout: impl Write,
        mut stderr: impl Write,
    ) -> Result<u8> {
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT).context("the node does not answer")?;
        let request = Request { token: self.token.clone(), command: command.to_owned(), terminal };
        let mut writer = stream.try_clone()?;
        writeln!(writer, "{}", request.to_json()).context("the node does not listen")?;
        let mut reader = BufReader::new(stream);
        // It ends with its input. A person's does not: then our process ends it.
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length) = input.read(&mut buffer) {
                if frame(&mut writer, STDIN, &buffer[..length]).is_err() || length == 0 {
                    return;
                }
            }
        });
        loop {
            let (kind, bytes) =
                next_frame(&mut reader).context("the node ended the connection before the command did")?;
            match kind {
                STDOUT => {
                    stdout.write_all(&bytes).and_then(|()| stdout.flush()).context("cannot pass on the output")?;
                }
                STDERR => {
                    stderr.write_all(&bytes).and_then(|()| stderr.flush()).context("cannot pass on the output")?;
                }
                EXIT => return bytes.first().copied().context("the node gave no exit status"),
                _ => bail!("the node sent a frame of the unknown kind {kind}"),
            }
        }
    }
}

/// `xtask in-guest agent`: the server.
#[derive(Args)]
pub(crate) struct Server {
    /// The file with what clients have to show
    token: PathBuf,
    /// Where files that oomtrace prints to are kept, whatever becomes of its pod
    keep: PathBuf,
}

impl Server {
    /// Serves until the node goes down.
    pub(crate) fn run(&self) -> Result<()> {
        let token = fs::read_to_string(&self.token).with_context(|| format!("cannot read {}", self.token.display()))?;
        let token: Arc<str> = token.trim().into();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("cannot listen")?;
        let keep = self.keep.clone();
        thread::spawn(move || {
            loop {
                if let Err(error) = keep_logs(Path::new("/var/log/pods"), &keep) {
                    eprintln!("cannot keep logs: {error:#}");
                }
                thread::sleep(Duration::from_secs(1));
            }
        });
        for stream in listener.incoming() {
            let token = Arc::clone(&token);
            let stream = stream.context("cannot accept a connection")?;
            thread::spawn(move || {
                if let Err(error) = serve(stream, &token) {
                    eprintln!("{error:#}");
                }
            });
        }
        Ok(())
    }
}

/// Links the logs of oomtrace's containers, which the kubelet removes with their pods, into a folder; in the order in which they
/// appeared.
fn keep_logs(pods: &Path, keep: &Path) -> Result<()> {
    fs::create_dir_all(keep).with_context(|| format!("cannot create {}", keep.display()))?;
    let kept = || fs::read_dir(keep).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    for pod in fs::read_dir(pods).into_iter().flatten().flatten() {
        let name = pod.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("oomtrace_oomtrace-")) else { continue };
        for log in fs::read_dir(pod.path().join("oomtrace")).into_iter().flatten().flatten() {
            let suffix = format!("-{name}-{}", log.file_name().to_string_lossy());
            let kept = kept()?;
            if !kept.iter().any(|path| path.to_string_lossy().ends_with(&suffix)) {
                let link = keep.join(format!("{:04}{suffix}", kept.len()));
                fs::hard_link(log.path(), &link).with_context(|| format!("cannot link {}", link.display()))?;
            }
        }
    }
    Ok(())
}

/// One command of one client.
fn serve(stream: TcpStream, token: &str) -> Result<()> {
    let writer = Arc::new(Mutex::new(stream.try_clone()?));
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.by_ref().take(1 << 20).read_line(&mut line)?;
    let request = Request::parse(&line)?;
    ensure!(request.token == token, "a client without the token");
    let mut child = shell(&request).spawn().context("cannot start bash")?;
    let group = Pid::from_child(&child);
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = Arc::new(Mutex::new(false));
    let still = Arc::clone(&ended);
    thread::spawn(move || {
        let mut input = input;
        loop {
            match next_frame(&mut reader) {
                Ok((STDIN, bytes)) if !bytes.is_empty() => {
                    // A command that does not read its input goes on without it.
                    if input.as_mut().is_some_and(|input| input.write_all(&bytes).is_err()) {
                        input = None;
                    }
                }
                Ok(_) => input = None,
                Err(_) => break,
            }
        }
        // Nobody waits for the command any more. It is not reaped while the lock is held, so that its number is still its own.
        let ended = lock(&still);
        if !*ended {
            let _ = kill_process_group(group, Signal::KILL);
        }
    });
    thread::scope(|scope| {
        scope.spawn(|| copy(output, STDOUT, &writer));
        scope.spawn(|| copy(errors, STDERR, &writer));
    });
    // Its output is closed: it has ended, or is about to.
    let status = loop {
        let mut ended = lock(&ended);
        if let Some(status) = child.try_wait()? {
            *ended = true;
            break status;
        }
        drop(ended);
        thread::sleep(Duration::from_millis(5));
    };
    frame(&mut *lock(&writer), EXIT, &[shell_status(status)])?;
    lock(&writer).shutdown(std::net::Shutdown::Both)?;
    Ok(())
}

/// The command of a request, in a process group of its own.
fn shell(request: &Request) -> Command {
    let mut shell = match request.terminal {
        None => Command::new("bash"),
        // It gives the command a terminal, and passes on what it prints there.
        Some((rows, columns)) => {
            let mut script = Command::new("script");
            script.args(["--quiet", "--return", "--flush", "--command"]);
            let command = if request.command.is_empty() { "exec bash -l" } else { &request.command };
            script.arg(format!("stty rows {rows} cols {columns}; {command}")).arg("/dev/null");
            script
        }
    };
    if request.terminal.is_none() {
        shell.arg("-c").arg(&request.command);
    }
    shell.current_dir("/root").process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

fn shell_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

fn copy(output: Option<impl Read>, kind: u8, writer: &Mutex<TcpStream>) {
    let Some(mut output) = output else { return };
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer) {
        if frame(&mut *lock(writer), kind, &buffer[..length]).is_err() {
            return;
        }
    }
}

fn frame(stream: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut message = vec![kind];
    message.extend(length.to_be_bytes());
    message.extend(bytes);
    stream.write_all(&message)
}

fn next_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes)?;
    Ok((kind, bytes))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(token: &'static str) -> Result<Client> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream, token));
            }
        });
        Ok(Client { port, token: "secret".to_owned() })
    }

    #[test]
    fn a_command_gets_its_input_and_both_its_outputs_and_status_come_back() -> Result<()> {
        let output = client("secret")?.run("cat; echo wrong >&2; exit 3", &b"read"[..])?;
        assert_eq!((output.status, &*output.stdout, &*output.stderr), (3, "read", "wrong\n"));
        assert_eq!(output.success().expect_err("it failed").to_string(), "exit status 3: wrong");
        Ok(())
    }

    #[test]
    fn a_command_that_a_signal_ends_has_the_status_a_shell_gives() -> Result<()> {
        assert_eq!(client("secret")?.run("kill -9 $$", io::empty())?.status, 137);
        Ok(())
    }

    #[test]
    fn nothing_is_run_without_the_token() -> Result<()> {
        assert!(client("another")?.run("echo done", io::empty()).is_err());
        Ok(())
    }

    #[test]
    fn logs_are_kept_in_the_order_of_their_appearance_when_their_pod_is_gone() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let (pods, keep) = (scratch.path().join("pods"), scratch.path().join("keep"));
        for (pod, restart) in
            [("oomtrace_oomtrace-b_1", "0"), ("oomtrace_oomtrace-a_2", "0"), ("oomtrace_oomtrace-a_2", "1")]
        {
            let folder = pods.join(pod).join("oomtrace");
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("{restart}.log")), format!("{pod} {restart}"))?;
            keep_logs(&pods, &keep)?;
        }
        fs::create_dir_all(pods.join("default_app_3/app"))?;
        fs::write(pods.join("default_app_3/app/0.log"), "not ours")?;
        fs::remove_dir_all(pods.join("oomtrace_oomtrace-b_1"))?;
        keep_logs(&pods, &keep)?;
        let mut kept = fs::read_dir(&keep)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        kept.sort();
        let texts = kept.iter().map(fs::read_to_string).collect::<io::Result<Vec<_>>>()?;
        assert_eq!(texts, ["oomtrace_oomtrace-b_1 0", "oomtrace_oomtrace-a_2 0", "oomtrace_oomtrace-a_2 1"]);
        Ok(())
    }
}
