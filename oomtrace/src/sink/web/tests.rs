use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use super::*;
use crate::{
    event::{Incident, Pod, Source},
    sink::Outlets,
};

const HOSTILE: &str = "<script>alert(1)</script>\"'\n\u{202e}";

/// A page, and what prints to it.
struct World {
    outlets: Outlets,
    url: String,
}

impl World {
    fn new(keep: usize) -> Result<Self> {
        let mut outlets = Outlets::default();
        let address = "127.0.0.1:0".parse().map_err(anyhow::Error::msg)?;
        let url = outlets.show(&Web { address, keep }, &Confinement::default())?;
        Ok(Self { outlets, url })
    }

    fn print(&self, id: &str, words: &str) {
        self.tell(Incident { id: id.to_owned(), ..about(words) });
    }

    fn tell(&self, incident: Incident) {
        self.outlets.print(&Line {
            ts: "2026-11-30T00:00:00Z".to_owned(),
            seq: 1,
            node: HOSTILE.to_owned(),
            source: Source::Oomtrace,
            boot_ns: None,
            event: Event::Incident(Box::new(incident)),
        });
    }

    fn connect(&self) -> Result<TcpStream> {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    /// What is answered to a request whose head, but for the empty line, is this.
    fn ask(&self, head: &str) -> Result<String> {
        let mut stream = self.connect()?;
        write!(stream, "{head}\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn page(&self) -> Result<String> {
        self.ask("GET / HTTP/1.1\r\nHost: localhost:8080")
    }

    /// The page, once this is on it.
    fn page_with(&self, words: &str) -> Result<String> {
        let started = Instant::now();
        loop {
            let page = self.page()?;
            if page.contains(words) {
                return Ok(page);
            }
            ensure!(started.elapsed() < Duration::from_secs(30), "{words} is not on {page}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn browser(&self, since: &str, headers: &str) -> Result<Browser> {
        let mut stream = self.connect()?;
        write!(stream, "GET /events{since} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")?;
        Ok(Browser(BufReader::new(stream)))
    }
}

/// Reads server-sent events.
struct Browser(BufReader<TcpStream>);

impl Browser {
    /// What comes until all is told, and the version that it is then.
    fn update(&mut self) -> Result<(Vec<String>, String)> {
        let (mut lines, mut version) = (Vec::new(), String::new());
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the stream ended after {lines:?}");
            let line = line.trim_end().to_owned();
            if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut version);
            }
            let ends = line.starts_with("data: {");
            lines.push(line);
            if ends {
                return Ok((lines, version));
            }
        }
    }
}

fn about(words: &str) -> Incident {
    let mut incident = Incident {
        started: "2026-11-30T00:00:00Z".to_owned(),
        pod: Some(Pod { name: Some(HOSTILE.to_owned()), ..Pod::default() }),
        kills: 1,
        ..Incident::default()
    };
    words.clone_into(&mut incident.verdict.summary);
    incident
}

fn articles(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("data: <")).collect()
}

#[test]
fn a_plain_get_has_all_incidents_as_they_are_now() -> Result<()> {
    let world = World::new(10)?;
    let empty = world.page()?;
    assert!(empty.starts_with("HTTP/1.1 200 OK") && empty.contains("oomtrace: 0 incidents"), "{empty}");
    world.print("a", "the first");
    world.print("b", "the second");
    world.print("a", "the first, revised");
    let page = world.page_with("the first, revised")?;
    assert_eq!(page.matches("<details").count(), 2, "one each");
    assert!(page.find("the first, revised") < page.find("the second"), "it stays where it was");
    assert!(page.contains("oomtrace: 2 incidents") && page.contains("content-type: text/html"), "{page}");
    assert!(!page.contains("<script>alert"), "a name is text");
    let policy = page.lines().find(|line| line.starts_with("content-security-policy: ")).context("no policy")?;
    assert!(policy.contains("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.ends_with("connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
    Ok(())
}

#[test]
fn a_browser_gets_what_changes_and_after_a_break_what_it_missed() -> Result<()> {
    let world = World::new(10)?;
    world.print("a", "the first");
    let page = world.page_with("the first")?;
    let version = page.split("data-version=\"").nth(1).and_then(|rest| rest.split('"').next()).context("no version")?;
    let mut browser = world.browser(&format!("?since={version}"), "")?;
    world.print("b", "the second");
    let (lines, after_b) = browser.update()?;
    assert_eq!(articles(&lines).len(), 1, "the page has the other: {lines:?}");
    assert!(articles(&lines)[0].contains("the second") && !articles(&lines)[0].contains("<script"), "{lines:?}");
    assert!(lines.last().is_some_and(|last| last.contains(r#""incidents":["a","b"]"#)), "{lines:?}");
    drop(browser);
    world.print("a", "revised");
    world.page_with("revised")?;
    // The header of one that comes again, whose address is still the first one's.
    let mut again = world.browser(&format!("?since={version}"), &format!("Last-Event-ID: {after_b}\r\n"))?;
    let (lines, _) = again.update()?;
    assert_eq!(articles(&lines).len(), 1, "{lines:?}");
    assert!(articles(&lines)[0].contains("revised"), "{lines:?}");
    for unknown in ["1-1", "nonsense", &format!("{after_b}9")] {
        let (lines, _) = world.browser("", &format!("Last-Event-ID: {unknown}\r\n"))?.update()?;
        assert_eq!(articles(&lines).len(), 2, "all of it for {unknown}: {lines:?}");
    }
    Ok(())
}

#[test]
fn the_page_says_how_many_older_incidents_it_let_go() -> Result<()> {
    let world = World::new(3)?;
    for number in 0..7 {
        world.print(&format!("id-{number}"), &format!("words of {number}."));
    }
    let page = world.page_with("words of 6.")?;
    assert_eq!(page.matches("<details").count(), 3);
    assert!(page.contains("4 older incidents let go") && !page.contains("words of 3."), "{page}");
    // One of them comes again: it is shown, and another one goes.
    world.print("id-0", "words again.");
    let page = world.page_with("words again.")?;
    assert!(page.contains("4 older incidents let go") && !page.contains("words of 4."), "{page}");
    // One that was none leaves the page.
    world.tell(Incident { id: "id-5".to_owned(), withdrawn: true, ..about("words of 5.") });
    world.print("id-6", "words at last.");
    let page = world.page_with("words at last.")?;
    assert!(page.matches("<details").count() == 2 && !page.contains("words of 5."), "{page}");
    Ok(())
}

#[test]
fn articles_are_bounded_in_bytes_too() -> Result<()> {
    let world = World::new(1000)?;
    for number in 0..20 {
        world.print(&format!("id-{number}"), &"x".repeat(1 << 20));
        // The queue holds 4 MiB.
        world.page_with(&format!("id=\"id-{number}\""))?;
    }
    let page = world.page()?;
    assert!(page.len() < 9 << 20, "{} bytes", page.len());
    assert!(page.contains("13 older incidents let go"), "{:?}", page.split("older").next().map(str::len));
    Ok(())
}

#[test]
fn on_loopback_only_names_of_this_machine_are_answered() -> Result<()> {
    let world = World::new(3)?;
    let status = |host: &str, path: &str| -> Result<String> {
        let text = world.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: {host}"))?;
        Ok(text.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9478", "[::1]", "[::1]:80"] {
        assert_eq!(status(host, "/")?, "200", "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9478", "10.0.0.1", "", ":80"] {
        assert_eq!(status(host, "/")?, "421", "{host}");
        assert_eq!(status(host, "/events")?, "421", "{host}");
    }
    Ok(())
}

#[test]
fn a_request_only_looks() -> Result<()> {
    let world = World::new(3)?;
    for (head, status) in [
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0", "405"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5", "413"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked", "413"),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: localhost", "404"),
    ] {
        let text = world.ask(head)?;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {text}");
    }
    Ok(())
}

#[test]
fn one_browser_too_many_takes_the_place_of_the_oldest() -> Result<()> {
    let world = World::new(3)?;
    world.print("a", "the first");
    world.page_with("the first")?;
    let mut first = world.browser("", "")?;
    first.update()?;
    let mut others = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut browser = world.browser("", "")?;
        browser.update()?;
        others.push(browser);
    }
    let mut rest = String::new();
    // It is cut off, and not only silent.
    let _ = first.0.read_to_string(&mut rest);
    world.print("b", "the second");
    let (lines, _) = others.last_mut().context("none")?.update()?;
    assert!(articles(&lines)[0].contains("the second"), "{lines:?}");
    assert!(!rest.contains("the second"), "{rest}");
    Ok(())
}
