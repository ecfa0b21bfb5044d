//! What is to be printed where.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::ValueEnum as _;

use super::{Format, Kinds};

/// An output of `oomtrace run`: `jsonl`, `text`, `jsonl:FILE`, and behind that `,only=KIND+KIND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How lines are printed.
    pub format: Format,
    /// The file; `None` for standard output.
    pub file: Option<PathBuf>,
    /// Which kinds are printed, where that is said.
    pub only: Option<Kinds>,
}

impl Output {
    /// What the choice of kinds begins with, behind a comma.
    pub const ONLY: &str = "only=";

    /// Standard output.
    #[must_use]
    pub fn stdout(format: Format) -> Self {
        Self { format, file: None, only: None }
    }

    /// The outputs that `--output` and `--format` ask for; `fallback` where neither says anything. An error says which two of
    /// them do not go together.
    ///
    /// # Errors
    ///
    /// Fails where two of them contradict each other.
    pub fn all(outputs: &[Self], format: Option<Format>, fallback: Format) -> Result<Vec<Self>, String> {
        for (at, output) in outputs.iter().enumerate() {
            if let Some(same) = outputs[..at].iter().find(|other| other.file == output.file) {
                return Err(match &output.file {
                    Some(file) => format!("--output {same} and --output {output} both write to {}", file.display()),
                    None => format!("--output {same} and --output {output} both write to standard output"),
                });
            }
        }
        let stdout = outputs.iter().find(|output| output.file.is_none());
        match (format, stdout) {
            (Some(format), Some(output)) if format != output.format => Err(format!(
                "--format {} and --output {output} both say how standard output is printed: leave one of them out",
                name(format).trim_end_matches('l')
            )),
            (Some(format), None) => Ok([&[Self::stdout(format)], outputs].concat()),
            _ if outputs.is_empty() => Ok(vec![Self::stdout(fallback)]),
            _ => Ok(outputs.to_vec()),
        }
    }
}

/// A format's name: where it has several, the last, which names files.
fn name(format: Format) -> String {
    let value = format.to_possible_value();
    value.and_then(|value| value.get_name_and_aliases().last().map(ToOwned::to_owned)).unwrap_or_default()
}

/// What to say of a word that is no format.
fn unknown(word: &str) -> String {
    let names: Vec<_> = Format::value_variants().iter().map(|format| name(*format)).collect();
    let files: Vec<_> = names.iter().map(|name| format!("{name}:FILE")).collect();
    format!("there is no format {word:?}: {} to standard output, {} to a file", one_of(&names), one_of(&files))
}

/// `a, b or c`.
fn one_of(words: &[String]) -> String {
    let (last, first) = words.split_last().map_or(("", &[][..]), |(last, first)| (last, first));
    format!("{} or {last}", first.join(", "))
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, only) = match text.rsplit_once(&format!(",{}", Self::ONLY)) {
            Some((text, only)) => (text, Some(only.parse()?)),
            None => (text, None),
        };
        let (format, file) = match text.split_once(':') {
            Some((format, file)) => (format, Some(file)),
            None => (text, None),
        };
        let format = Format::from_str(format, false).map_err(|_| unknown(format))?;
        match file {
            Some("") => Err(format!("no file is named behind {text:?}")),
            Some("-") | None => Ok(Self { format, file: None, only }),
            Some(file) => Ok(Self { format, file: Some(Path::new(file).to_path_buf()), only }),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.format))?;
        if let Some(file) = &self.file {
            write!(f, ":{}", file.display())?;
        }
        match &self.only {
            Some(only) => write!(f, ",{}{only}", Self::ONLY),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(outputs: &[&str], format: Option<Format>) -> Result<Vec<String>, String> {
        let outputs = outputs.iter().map(|output| output.parse()).collect::<Result<Vec<_>, _>>()?;
        let all = Output::all(&outputs, format, Format::Json)?;
        Ok(all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_any_option_standard_output_is_printed_as_fits_it() {
        assert_eq!(all(&[], None), Ok(vec!["jsonl".to_owned()]));
        assert_eq!(all(&[], Some(Format::Text)), Ok(vec!["text".to_owned()]));
    }

    #[test]
    fn files_alone_leave_standard_output_empty() {
        assert_eq!(all(&["text:/a:b"], None), Ok(vec!["text:/a:b".to_owned()]));
    }

    #[test]
    fn format_is_about_standard_output_beside_any_files() {
        let both = Ok(vec!["text".to_owned(), "jsonl:/a".to_owned()]);
        assert_eq!(all(&["jsonl:/a"], Some(Format::Text)), both);
        assert_eq!(all(&["text", "jsonl:/a"], Some(Format::Text)), both);
    }

    #[test]
    fn two_formats_for_one_place_are_refused_by_name() {
        let error = all(&["jsonl"], Some(Format::Text)).expect_err("a conflict");
        assert!(error.contains("--format text") && error.contains("--output jsonl"), "{error}");
        let error = all(&["jsonl:/a", "text:/a"], None).expect_err("a conflict");
        assert!(error.contains("--output jsonl:/a") && error.contains("--output text:/a"), "{error}");
        assert!(all(&["jsonl", "text:-"], None).is_err());
    }

    #[test]
    fn what_is_no_output_is_refused_with_what_would_be_one() {
        assert!("xml".parse::<Output>().expect_err("no such format").contains("jsonl:FILE"));
        assert!("jsonl:".parse::<Output>().is_err());
    }

    #[test]
    fn an_output_chooses_its_kinds_behind_its_file() -> Result<(), String> {
        let output: Output = "jsonl:/a,b.jsonl,only=incident+lost".parse()?;
        assert_eq!(output.file.as_deref(), Some(Path::new("/a,b.jsonl")));
        assert_eq!(output.only, Some("incident,lost".parse()?));
        assert_eq!(output.to_string(), "jsonl:/a,b.jsonl,only=incident+lost");
        let stdout: Output = "jsonl,only=default+pressure".parse()?;
        assert_eq!((stdout.file.as_deref(), stdout.to_string()), (None, "jsonl,only=default+pressure".to_owned()));
        assert!("jsonl:/a,only=incidents".parse::<Output>().is_err_and(|error| error.contains("is incident meant?")));
        Ok(())
    }
}
