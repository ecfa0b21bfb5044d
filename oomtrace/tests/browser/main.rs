//! The HTML report, as a file and live, in a real browser. `cargo xtask test` brings one; elsewhere nothing is tested here.

mod chromium;
mod incidents;

use std::{collections::BTreeSet, fs, net::TcpStream, path::Path};

use anyhow::{Context as _, Result, ensure};
use oomtrace::{
    confinement::Confinement,
    event::{Incident, Line},
    sink::{self, Outlets, Web},
};
use serde_json::json;

use self::{
    chromium::Chromium,
    incidents::{hostile, line, named},
};

const WIDTHS: [u32; 2] = [1300, 400];
const SCHEMES: [&str; 2] = ["light", "dark"];
const TAB: (&str, u32, &str) = ("Tab", 9, "");

/// Text that has less contrast with what is behind it than WCAG 2 asks for (AA), each with its colours.
const TOO_FAINT: &str = r"(() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((byte) => byte / 255)
      .map((share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  let texts = 0;
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('script') || !element.checkVisibility()) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const colour = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [luminance(colour), luminance(behind(element))].sort((one, other) => other - one);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faint.add(`${element.tagName}.${element.className}: ${colour} on ${behind(element)}`);
  }
  return { texts, faint: [...faint] };
})()";

/// A report as a file, and where it is.
fn report(folder: &Path, incidents: impl Iterator<Item = Incident>) -> Result<String> {
    let lines: Vec<Line> = incidents.map(line).collect();
    let path = folder.join("report.html");
    fs::write(&path, sink::html(&lines))?;
    Ok(format!("file://{}", path.display()))
}

/// What has to be so of every page, in every window.
fn check_look(browser: &mut Chromium, what: &str) -> Result<()> {
    assert_eq!(browser.run("typeof window.ran")?, "undefined", "{what}: a name ran a script");
    let wide = "document.documentElement.scrollWidth <= innerWidth";
    let widest = browser.run(
        "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth \
         && !e.closest('.scrolls')).map((e) => e.tagName + '.' + e.className).slice(0, 5)",
    )?;
    assert_eq!(browser.run(wide)?, true, "{what}: it is wider than the window: {widest}");
    let contrast = browser.run(TOO_FAINT)?;
    ensure!(contrast["texts"].as_u64() > Some(100), "{what}: only {} texts", contrast["texts"]);
    assert_eq!(contrast["faint"], json!([]), "{what}: text that is too faint");
    assert_eq!(browser.complaints()?, Vec::<String>::new(), "{what}");
    Ok(())
}

#[test]
fn hostile_names_run_nothing_overflow_nothing_and_can_be_read_in_every_window() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let url = report(folder.path(), (0..24).map(hostile))?;
    for (width, scheme) in WIDTHS.into_iter().flat_map(|width| SCHEMES.map(|scheme| (width, scheme))) {
        browser.look(width, scheme)?;
        browser.open(&url)?;
        assert_eq!(browser.run("innerWidth")?, width);
        assert_eq!(browser.run("matchMedia('(prefers-color-scheme: dark)').matches")?, scheme == "dark");
        check_look(&mut browser, &format!("folded, {width} {scheme}"))?;
        browser.run("document.getElementById('all').click()")?;
        browser.wait_until("document.querySelectorAll('details[open]').length === 24")?;
        // What is out of sight is laid out only when it is looked at.
        browser.run(
            "document.querySelectorAll('.incident').forEach((one) => { one.style.contentVisibility = 'visible'; })",
        )?;
        check_look(&mut browser, &format!("unfolded, {width} {scheme}"))?;
    }
    Ok(())
}

fn shown(browser: &mut Chromium) -> Result<Vec<String>> {
    let ids = browser.run("[...document.querySelectorAll('details.incident:not([hidden])')].map((one) => one.id)")?;
    Ok(serde_json::from_value(ids)?)
}

/// Chooses in a list, as a person does.
fn choose(browser: &mut Chromium, id: &str, value: &str) -> Result<()> {
    browser.run(&format!(
        "(() => {{ const list = document.getElementById('{id}'); list.value = '{value}'; \
         list.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    ))?;
    Ok(())
}

#[test]
fn search_filters_order_and_folding_work() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let words = |n: usize| if n.is_multiple_of(2) { "even words" } else { "odd words" };
    let url = report(folder.path(), (0..24).map(|n| named(n, &format!("pod{n:02}"), words(n))))?;
    browser.open(&url)?;
    assert_eq!(shown(&mut browser)?.len(), 24);
    browser.press("/", 191, "/")?;
    browser.write("ODD pod07")?;
    assert_eq!(shown(&mut browser)?, ["id-7"]);
    assert_eq!(browser.run("document.getElementById('shown').textContent")?, "1 of 24 shown");
    browser.run("document.getElementById('search').select()")?;
    browser.write("odd")?;
    assert_eq!(shown(&mut browser)?.len(), 12);
    choose(&mut browser, "severity", "other")?;
    assert_eq!(shown(&mut browser)?, ["id-3", "id-9", "id-15", "id-21"]);
    choose(&mut browser, "order", "latest")?;
    assert_eq!(shown(&mut browser)?, ["id-21", "id-15", "id-9", "id-3"]);
    choose(&mut browser, "severity", "")?;
    choose(&mut browser, "scenario", "crashed")?;
    assert_eq!(shown(&mut browser)?, ["id-23", "id-11"]);
    choose(&mut browser, "scenario", "")?;
    choose(&mut browser, "order", "kills")?;
    assert_eq!(shown(&mut browser)?[..3], ["id-9", "id-19", "id-3"]);
    choose(&mut browser, "order", "time")?;
    browser.run("document.getElementById('all').click()")?;
    assert_eq!(browser.run("document.querySelectorAll('details[open]').length")?, 12, "those that are shown");
    // A workload leads to its incidents.
    browser.run("document.querySelector('button[data-search=pod08]').click()")?;
    assert_eq!(shown(&mut browser)?, ["id-8"]);
    assert_eq!(browser.run("document.activeElement.id")?, "search");
    // A link to an incident opens it.
    browser.run("location.hash = 'id-20'")?;
    browser.wait_until("document.getElementById('id-20').open")?;
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn everything_is_reached_and_unfolded_by_the_keyboard() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let url = report(folder.path(), (0..4).map(|n| named(n, &format!("pod{n:02}"), "words")))?;
    browser.open(&url)?;
    let (tab, code, text) = TAB;
    let mut reached = BTreeSet::new();
    for _ in 0..30 {
        browser.press(tab, code, text)?;
        let at = browser.run(
            "(() => { const at = document.activeElement; const outline = getComputedStyle(at).outlineStyle; \
             return [at.id || at.dataset.search || at.closest('details')?.id || at.tagName, outline]; })()",
        )?;
        let at: (String, String) = serde_json::from_value(at)?;
        ensure!(at.0 == "BODY" || at.1 != "none", "it is not seen that {} has the focus", at.0);
        reached.insert(at.0);
    }
    for control in ["search", "scenario", "severity", "order", "all", "pod00", "pod03", "id-0", "id-3"] {
        ensure!(reached.contains(control), "{control} is not among {reached:?}");
    }
    browser.run("document.querySelector('#id-2 summary').focus()")?;
    browser.press("Enter", 13, "\r")?;
    browser.wait_until("document.getElementById('id-2').open")?;
    browser.press(" ", 32, " ")?;
    browser.wait_until("!document.getElementById('id-2').open")?;
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn without_a_script_all_of_it_is_there() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let url = report(folder.path(), (0..4).map(|n| named(n, &format!("pod{n:02}"), "words")))?;
    browser.call("Emulation.setScriptExecutionDisabled", &json!({"value": true}))?;
    let answer = browser.call("Page.navigate", &json!({"url": url}))?;
    ensure!(answer["errorText"].is_null(), "{answer}");
    browser.wait_until("document.querySelectorAll('details.incident').length === 4")?;
    assert_eq!(browser.run("document.getElementById('controls').checkVisibility()")?, false, "what does nothing");
    browser.run("document.getElementById('id-1').scrollIntoView()")?;
    let summary = browser.run("document.querySelector('#id-1 summary').getBoundingClientRect().toJSON()")?;
    let at = |side: &str, size: &str| Some(summary[side].as_f64()? + summary[size].as_f64()? / 2.0);
    let (x, y) = (at("x", "width").context("no place")?, at("y", "height").context("no place")?);
    for kind in ["mousePressed", "mouseReleased"] {
        let click = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
        browser.call("Input.dispatchMouseEvent", &click)?;
    }
    browser.wait_until("document.getElementById('id-1').open")?;
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_thousand_incidents_can_be_looked_through() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let url = report(folder.path(), (0..1000).map(|n| named(n, &format!("pod{n:03}"), "some words of a kill")))?;
    let size = fs::metadata(folder.path().join("report.html"))?.len();
    let took = browser.open(&url)?;
    assert_eq!(shown(&mut browser)?.len(), 1000);
    let searched = browser.run(
        "(() => { const began = performance.now(); const search = document.getElementById('search'); \
         search.value = 'pod777'; search.dispatchEvent(new Event('input')); return performance.now() - began; })()",
    )?;
    assert_eq!(shown(&mut browser)?, ["id-777"]);
    let first = browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")?;
    println!(
        "1000 incidents, {} KiB: the first drawn after {first} ms, all after {took:?}; the first search took {searched} ms",
        size >> 10
    );
    Ok(())
}

/// A page that is served, and what prints to it.
fn serve() -> Result<(Outlets, String)> {
    let mut outlets = Outlets::default();
    let address = "127.0.0.1:0".parse().map_err(anyhow::Error::msg)?;
    let url = outlets.show(&Web { address, keep: 30 }, &Confinement::default())?;
    Ok((outlets, url))
}

#[test]
fn a_live_page_is_brought_up_to_date_without_being_loaded_again() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let (outlets, url) = serve()?;
    browser.open(&url)?;
    browser.run("window.loaded = 'once'")?;
    browser.wait_until("document.getElementById('live').textContent.startsWith('Live')")?;
    outlets.print(&line(named(0, "pod00", "the first")));
    browser.wait_until("document.querySelector('#id-0 .summary')?.textContent === 'the first'")?;
    assert_eq!(browser.run("document.title")?, "oomtrace: 1 incident");
    assert_eq!(browser.run("document.getElementById('shown').textContent")?, "1 shown");
    // What the reader has done to the page stays.
    browser.run("document.getElementById('id-0').open = true")?;
    browser.run("document.querySelector('#id-0 summary').focus()")?;
    outlets.print(&line(named(1, "pod01", "the second")));
    outlets.print(&line(named(0, "pod00", "revised")));
    browser.wait_until("document.querySelector('#id-0 .summary')?.textContent === 'revised'")?;
    browser.wait_until("document.title === 'oomtrace: 2 incidents'")?;
    let kept = "[document.getElementById('id-0').open, document.activeElement.closest('details')?.id]";
    assert_eq!(browser.run(kept)?, json!([true, "id-0"]));
    assert_eq!(shown(&mut browser)?, ["id-0", "id-1"], "it is replaced in its place");
    choose(&mut browser, "order", "latest")?;
    browser.run("document.getElementById('search').focus()")?;
    browser.write("pod0")?;
    outlets.print(&line(named(2, "pod02", "the third")));
    outlets.print(&line(named(3, "other", "the fourth")));
    browser.wait_until("document.title === 'oomtrace: 4 incidents'")?;
    assert_eq!(shown(&mut browser)?, ["id-2", "id-1", "id-0"], "by the order and the search that were chosen");
    assert_eq!(browser.run("document.activeElement.value")?, "pod0");
    let workloads = "[...document.querySelectorAll('button[data-search]:enabled')].map((one) => one.dataset.search)";
    let workloads: BTreeSet<String> = serde_json::from_value(browser.run(workloads)?)?;
    assert_eq!(workloads.len(), 4, "{workloads:?}");
    // One that was none goes.
    outlets.print(&line(Incident { withdrawn: true, ..named(1, "pod01", "") }));
    browser.wait_until("document.title === 'oomtrace: 3 incidents'")?;
    assert_eq!(shown(&mut browser)?, ["id-2", "id-0"]);
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    assert_eq!(browser.run("window.loaded")?, "once");
    Ok(())
}

#[test]
fn a_live_page_that_was_cut_off_comes_again_and_gets_what_it_missed() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let (outlets, url) = serve()?;
    browser.open(&url)?;
    browser.run("window.loaded = 'once'")?;
    browser.wait_until("document.getElementById('live').textContent.startsWith('Live')")?;
    // More than there is room for: the oldest has to go, which is the browser.
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let others = (0..64).map(|_| TcpStream::connect(address)).collect::<Result<Vec<_>, _>>()?;
    browser.wait_until("document.getElementById('live').textContent.includes('does not answer')")?;
    outlets.print(&line(hostile(0)));
    drop(others);
    browser.wait_until("document.title === 'oomtrace: 1 incident'")?;
    browser.wait_until("document.getElementById('live').textContent.startsWith('Live')")?;
    assert_eq!(browser.run("window.loaded")?, "once");
    Ok(())
}

#[test]
fn a_live_page_with_hostile_names_is_as_sound_as_a_file() -> Result<()> {
    let Some(mut browser) = Chromium::start()? else { return Ok(()) };
    let (outlets, url) = serve()?;
    (0..20).for_each(|n| outlets.print(&line(hostile(n))));
    for (width, scheme) in WIDTHS.into_iter().flat_map(|width| SCHEMES.map(|scheme| (width, scheme))) {
        browser.look(width, scheme)?;
        browser.open(&url)?;
        browser.wait_until("document.title === 'oomtrace: 20 incidents'")?;
        outlets.print(&line(hostile(19)));
        browser.run("document.getElementById('all').click()")?;
        browser.run(
            "document.querySelectorAll('.incident').forEach((one) => { one.style.contentVisibility = 'visible'; })",
        )?;
        check_look(&mut browser, &format!("live, {width} {scheme}"))?;
    }
    let elsewhere = browser.run(
        "performance.getEntriesByType('resource').map((one) => one.name).filter((url) => !url.includes('/events?'))",
    )?;
    assert_eq!(elsewhere, json!([]), "what the page asks for beside news");
    Ok(())
}
