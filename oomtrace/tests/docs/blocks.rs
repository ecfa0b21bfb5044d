//! Pages of the documentation, their blocks, and the commands in these.
//!
//! xtask's tests read the same for the commands that are its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that have no pages of ours.
const OTHERS: [&str; 5] = ["target", ".git", "fuzz", "data", "node_modules"];

/// A file in Markdown.
pub(crate) struct Page {
    /// From the project's folder.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What is fenced by three backticks.
pub(crate) struct Block {
    /// Where it begins: `README.md:12`.
    pub(crate) at: String,
    /// What is written behind the backticks.
    pub(crate) language: String,
    pub(crate) lines: Vec<String>,
}

/// A command of a line of shell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Without `sudo`, and without where its output goes.
    pub(crate) words: Vec<String>,
    /// Whether its input is another command's output.
    pub(crate) piped: bool,
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("")
}

/// Every page below the project's folder.
pub(crate) fn pages() -> Vec<Page> {
    let (root, mut pages) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !OTHERS.contains(&name) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(&root).expect("it is below").to_str().expect("UTF-8").to_owned();
                pages.push(Page { name, text: fs::read_to_string(&path).expect("a page") });
            }
        }
    }
    pages.sort_by(|one, other| one.name.cmp(&other.name));
    pages
}

/// All blocks of a page.
pub(crate) fn blocks(page: &Page) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for (number, line) in page.text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let at = format!("{}:{}", page.name, number + 1);
                open = Some(Block { at, language: language.to_owned(), lines: Vec::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block does not end", page.name);
    blocks
}

/// The commands of a line of shell.
pub(crate) fn commands(line: &str) -> Vec<Command> {
    let (mut commands, mut words, mut piped) = (Vec::new(), Vec::new(), false);
    let mut end = |words: &mut Vec<String>, piped| {
        let words: Vec<_> = std::mem::take(words);
        let words = match words.iter().position(|word| word == ">") {
            Some(to) => words[..to].to_vec(),
            None => words,
        };
        let words: Vec<_> = words.into_iter().skip_while(|word| word == "sudo").collect();
        commands.extend((!words.is_empty()).then_some(Command { words, piped }));
    };
    for word in split(line) {
        if ["&&", "||", "|", ";"].contains(&word.as_str()) {
            end(&mut words, piped);
            piped = word == "|";
        } else {
            words.push(word);
        }
    }
    end(&mut words, piped);
    commands
}

/// The words of a line of shell, without quotes and up to a comment.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    assert!(quote.is_none(), "a quote does not end: {line}");
    words.extend(word);
    words
}
