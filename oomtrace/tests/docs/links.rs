//! Links of the documentation: to pages, to headings in them, and to files.

use std::path::Path;

use super::blocks::{Page, pages};

/// The links of a page that lead nowhere.
pub(super) fn wrong(page: &Page, root: &Path) -> Vec<String> {
    let folder = Path::new(&page.name).parent().unwrap_or(Path::new(""));
    let is_elsewhere = |target: &str| target.starts_with("https://") || target.starts_with("http://");
    let mut wrong = Vec::new();
    for target in targets(&page.text).into_iter().filter(|target| !is_elsewhere(target)) {
        let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
        let path = if file.is_empty() { root.join(&page.name) } else { root.join(folder).join(file) };
        let Ok(path) = path.canonicalize() else {
            wrong.push(format!("{}: there is no {file}", page.name));
            continue;
        };
        let there = heading.is_none_or(|heading| {
            let page =
                pages().into_iter().find(|page| root.join(&page.name).canonicalize().is_ok_and(|other| other == path));
            page.is_some_and(|page| headings(&page.text).iter().any(|other| other == heading))
        });
        if !there {
            wrong.push(format!("{}: there is no heading for {target}", page.name));
        }
    }
    wrong
}

/// What the links of a page lead to. Blocks of code have none.
fn targets(text: &str) -> Vec<&str> {
    let prose = outside_blocks(text);
    prose
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// The lines of a page that are in no block.
pub(super) fn outside_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .scan(false, |in_block, line| {
            let fence = line.trim_start().starts_with("```");
            *in_block ^= fence;
            Some((line, *in_block || fence))
        })
        .filter_map(|(line, inside)| (!inside).then_some(line))
}

/// The names by which a page's headings are linked, as GitHub makes them.
fn headings(text: &str) -> Vec<String> {
    let titles =
        outside_blocks(text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let name = |title: &str| {
        let letters = title.to_lowercase();
        let letters = letters.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
        letters.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    titles.map(name).collect()
}

#[test]
fn a_link_to_nothing_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = |text: &str| Page { name: "page.md".to_owned(), text: text.to_owned() };
    std::fs::write(folder.path().join("page.md"), "").expect("written");
    let wrong = |text: &str| wrong(&page(text), folder.path());
    assert_eq!(
        wrong("[a](page.md) and [b](https://example.org/c#d)\n```sh\n[c](none.md)\n```\n"),
        Vec::<String>::new()
    );
    assert_eq!(wrong("[a](none.md)"), ["page.md: there is no none.md"]);
    assert_eq!(wrong("# A\n[a](#b)"), ["page.md: there is no heading for #b"]);
    assert_eq!(headings("# What's new, and `why`?\n```sh\n# no\n```\n"), ["whats-new-and-why"]);
}
