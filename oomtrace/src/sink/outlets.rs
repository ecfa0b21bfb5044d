//! All outputs of a run.

use std::{io, path::Path, sync::Arc};

use tokio::sync::oneshot;

use super::{BesideOtlp, Format, Kinds, Look, Otlp, Output, Rotation, Web, queue::News, writer::Writer};
use crate::{
    confinement::Confinement,
    event::{Event, Failure, Line, Lost, LostFrom},
};

/// An output that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be written to: {error}")]
pub struct OpenError {
    /// Which.
    what: String,
    /// Why.
    error: io::Error,
}

/// Where every line goes.
#[derive(Default)]
pub struct Outlets {
    all: Vec<Outlet>,
}

/// Whether somebody reads standard output still.
pub struct StdoutReader(Option<oneshot::Receiver<()>>);

impl StdoutReader {
    /// Waits until it has gone, and tells so once; for ever, where nothing is printed there.
    pub async fn gone(&mut self) {
        match &mut self.0 {
            Some(gone) => {
                // An error is the same: the thread that writes has ended.
                let _ = gone.await;
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }
}

struct Outlet {
    format: Format,
    /// Which kinds are printed.
    only: Kinds,
    /// What its text looks like.
    look: Look,
    writer: Writer,
    /// What a lost line is called.
    from: LostFrom,
    /// `stdout`, or the file.
    name: String,
}

impl Outlets {
    /// Opens them, and the file of `--record`. Each is written to by a thread of its own, which is confined so.
    ///
    /// # Errors
    ///
    /// Fails where one of them cannot be opened.
    pub fn open(
        outputs: &[Output],
        rotation: Rotation,
        record: Option<&Path>,
        confinement: &Confinement,
    ) -> Result<(Self, StdoutReader), OpenError> {
        let (mut outlets, mut reader) = (Self::default(), StdoutReader(None));
        for Output { format, file, only } in outputs {
            let only = only.clone().unwrap_or_else(Kinds::by_default);
            if let Some(path) = file {
                outlets.add_file(*format, path, only, rotation, LostFrom::Output, confinement)?;
                continue;
            }
            let (writer, gone) =
                Writer::stdout(confinement).map_err(|error| OpenError { what: "standard output".to_owned(), error })?;
            reader = StdoutReader(Some(gone));
            let name = "stdout".to_owned();
            let look = Look::of_stdout().with_details(only == Kinds::all());
            outlets.all.push(Outlet { format: *format, only, look, writer, from: LostFrom::Stdout, name });
        }
        if let Some(path) = record {
            outlets.add_file(Format::Json, path, Kinds::all(), Rotation::NEVER, LostFrom::Record, confinement)?;
        }
        Ok((outlets, reader))
    }

    fn add_file(
        &mut self,
        format: Format,
        path: &Path,
        only: Kinds,
        rotation: Rotation,
        from: LostFrom,
        confinement: &Confinement,
    ) -> Result<(), OpenError> {
        let name = path.display().to_string();
        let writer =
            Writer::file(path, rotation, confinement).map_err(|error| OpenError { what: name.clone(), error })?;
        let look = Look::of_file().with_details(only == Kinds::all());
        self.all.push(Outlet { format, only, look, writer, from, name });
        Ok(())
    }

    /// Sends lines, and figures beside them, to a receiver of OTLP.
    ///
    /// # Errors
    ///
    /// Fails where there can be no thread.
    pub fn send(&mut self, otlp: &Otlp, beside: BesideOtlp, confinement: &Confinement) -> Result<(), OpenError> {
        let name = otlp.access.endpoint.to_string();
        let writer = otlp.start(beside, confinement).map_err(|error| OpenError { what: name.clone(), error })?;
        let (only, look) = (otlp.kinds.clone(), Look::of_file());
        self.all.push(Outlet { format: Format::Otel, only, look, writer, from: LostFrom::Otlp, name });
        Ok(())
    }

    /// Shows incidents in a browser. Gives where.
    ///
    /// # Errors
    ///
    /// Fails where the address cannot be listened on, or there can be no thread.
    pub fn show(&mut self, web: &Web, confinement: &Confinement) -> anyhow::Result<String> {
        let (writer, name) = web.start(confinement)?;
        let (only, look) = (Web::kinds(), Look::of_file());
        self.all.push(Outlet { format: Format::Json, only, look, writer, from: LostFrom::Web, name: name.clone() });
        Ok(name)
    }

    /// Whether some are files, which can be opened again.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.all.iter().any(|outlet| matches!(outlet.from, LostFrom::Output | LostFrom::Record))
    }

    /// Prints a line wherever its kind is printed: as text for each by itself, else in each format once, however many outputs
    /// have it. A recording and the page have it whole.
    pub fn print(&self, line: &Line) {
        let mut printed: Vec<(Format, Arc<str>)> = Vec::new();
        for outlet in self.all.iter().filter(|outlet| outlet.only.contain(&line.event)) {
            let Outlet { format, look, writer, .. } = outlet;
            if matches!(outlet.from, LostFrom::Record | LostFrom::Web) {
                writer.send(format.print_whole(line, *look).into());
                continue;
            }
            let known = printed.iter().find(|(of, _)| of == format && *format != Format::Text);
            let text = known.map_or_else(|| format.print(line, *look).into(), |(_, text)| Arc::clone(text));
            writer.send(Arc::clone(&text));
            printed.push((*format, text));
        }
    }

    /// Opens every file again: a log rotation has moved them away.
    pub fn reopen(&self) {
        self.all.iter().for_each(|outlet| outlet.writer.reopen());
    }

    /// What was lost, and what went wrong, since this was last asked; at the `end` all of it, else losses of an output at most once
    /// a minute. It is reported to all outputs, and on standard error where no other output prints it.
    #[must_use]
    pub fn news(&self, end: bool) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, Outlet { writer, from, name, .. }) in self.all.iter().enumerate() {
            let News { lost, trouble } = writer.news(end);
            for trouble in trouble {
                let message = format!("{name}: {trouble}");
                let event = Event::Error(Failure { message: message.clone() });
                let mut others = self.all.iter().enumerate().filter(|(other, _)| *other != number);
                if !others.any(|(_, other)| other.only.contain(&event)) {
                    tracing::warn!("{message}");
                }
                events.push(event);
            }
            if lost > 0 {
                events.push(Event::Lost(Lost { output: Some(name.clone()), ..Lost::new(*from, lost) }));
            }
        }
        events
    }

    /// Waits until every line is out. An error is standard output's; what is wrong with a file is said.
    ///
    /// # Errors
    ///
    /// Fails where something could not be written.
    pub fn finish(self) -> io::Result<()> {
        let mut stdout = Ok(());
        for Outlet { writer, from, name, .. } in &self.all {
            match writer.finish() {
                Err(error) if *from == LostFrom::Stdout => stdout = Err(error),
                Err(error) => tracing::error!("{name} is not complete: {error}"),
                Ok(()) => {}
            }
        }
        stdout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Source;

    fn line(seq: u64) -> Line {
        let event = Event::Lost(Lost::new(LostFrom::Ring, 7));
        let (ts, node) = ("2026-01-01T00:00:00Z".to_owned(), "node".to_owned());
        Line { ts, seq, node, source: Source::Oomtrace, boot_ns: None, event }
    }

    #[test]
    fn every_output_gets_every_line_in_its_own_format() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let [json, text, record] = ["json", "text", "record"].map(|name| folder.path().join(name));
        let outputs = [format!("jsonl:{}", json.display()), format!("text:{}", text.display())];
        let outputs: Vec<Output> =
            outputs.iter().map(|output| output.parse().map_err(anyhow::Error::msg)).collect::<Result<_, _>>()?;
        let (outlets, _) = Outlets::open(&outputs, Rotation::NEVER, Some(&record), &Confinement::default())?;
        outlets.print(&line(1));
        outlets.print(&line(2));
        outlets.finish()?;
        let [json, text, record] = [json, text, record].map(std::fs::read_to_string);
        let (json, text) = (json?, text?);
        assert_eq!(json, record?);
        assert_eq!(json, Format::Json.print(&line(1), Look::plain()) + &Format::Json.print(&line(2), Look::plain()));
        assert_eq!(text, Format::Text.print(&line(1), Look::plain()) + &Format::Text.print(&line(2), Look::plain()));
        Ok(())
    }

    #[test]
    fn each_output_gets_the_kinds_that_it_chooses_and_a_recording_gets_all() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let names = ["default", "chosen", "record"];
        let [default, chosen, record] = names.map(|name| folder.path().join(name));
        let outputs = [format!("jsonl:{}", default.display()), format!("jsonl:{},only=pressure", chosen.display())];
        let outputs: Vec<Output> =
            outputs.iter().map(|output| output.parse().map_err(anyhow::Error::msg)).collect::<Result<_, _>>()?;
        let (outlets, _) = Outlets::open(&outputs, Rotation::NEVER, Some(&record), &Confinement::default())?;
        let pressure = Line { event: Event::Pressure(Box::default()), ..line(2) };
        outlets.print(&line(1));
        outlets.print(&pressure);
        outlets.finish()?;
        let [default, chosen, record] = [default, chosen, record].map(std::fs::read_to_string);
        let [lost, pressure] = [line(1), pressure].map(|line| Format::Json.print(&line, Look::plain()));
        assert_eq!((default?, chosen?, record?), (lost.clone(), pressure.clone(), lost + &pressure));
        Ok(())
    }

    #[test]
    fn what_an_output_lost_is_reported_with_its_name() -> anyhow::Result<()> {
        let full = Output { format: Format::Json, file: Some("/dev/full".into()), only: None };
        let (outlets, _) = Outlets::open(&[full], Rotation::NEVER, None, &Confinement::default())?;
        outlets.print(&line(1));
        let mut news = Vec::new();
        for _ in 0..500 {
            news.extend(outlets.news(false));
            if news.len() == 2 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let json = serde_json::to_string(&news)?;
        assert!(json.contains(r#"{"kind":"error","message":"/dev/full: lines are lost"#), "{json}");
        assert!(json.contains(r#"{"kind":"lost","from":"output","count":1,"output":"/dev/full"}"#), "{json}");
        Ok(())
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let nowhere = Output { format: Format::Json, file: Some("/nowhere/events.jsonl".into()), only: None };
        let error = Outlets::open(&[nowhere], Rotation::NEVER, None, &Confinement::default())
            .err()
            .map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("/nowhere/events.jsonl cannot be written to: No such file or directory (os error 2)")
        );
    }
}
