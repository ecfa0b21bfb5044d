use super::*;

fn measures(text: &str) -> Result<String, String> {
    text.parse::<Measures>().map(|measures| measures.to_string())
}

#[test]
fn measures_are_chosen_by_name() {
    assert_eq!(measures("all").as_deref(), Ok("capabilities,no_new_privs,seccomp,landlock"));
    assert_eq!(measures("seccomp, capabilities").as_deref(), Ok("capabilities,seccomp"));
    assert_eq!(measures("none").as_deref(), Ok(""));
    let error = measures("secomp").expect_err("no such measure");
    assert!(error.contains("is seccomp meant?") && error.contains("landlock"), "{error}");
}

#[test]
fn a_file_may_be_replaced_in_its_folder_and_where_a_link_leads_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a path");
    let (here, there) = (root.join("here"), root.join("there"));
    fs::create_dir(&here).and_then(|()| fs::create_dir(&there)).expect("folders");
    fs::write(there.join("events"), "").expect("written");
    std::os::unix::fs::symlink(there.join("events"), here.join("events")).expect("a link");
    assert_eq!(folders_of(&here.join("events")), [here.clone(), there]);
    assert_eq!(folders_of(&here.join("new")), [here]);
    assert_eq!(folders_of(Path::new("new")), [Path::new(".")]);
    assert_eq!(folders_of(Path::new("/dev/null")), [Path::new("/dev/null")]);
}

/// What a thread can do that is confined to a folder: the rest of this process stays as it is.
#[test]
fn a_confined_thread_writes_to_its_own_folder_alone() {
    let (own, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (own_file, other_file) = (own.path().join("file"), other.path().join("file"));
    let file = own_file.clone();
    let confined = std::thread::spawn(move || {
        let confinement = Confinement { measures: "all".parse()?, reads_environments: false };
        let confined = confinement.confine(&Needs { writes: folders_of(&file), ..Needs::default() });
        let results = [&file, &other_file].map(|file| fs::write(file, "").map_err(|error| error.kind()));
        Ok::<_, String>((confined, results, rustix::thread::no_new_privs()))
    });
    let (confined, [inside, outside], no_new_privs) = confined.join().expect("no panic").expect("measures");
    assert!(confined.measures.contains(&Measure::NoNewPrivs) && confined.measures.contains(&Measure::Capabilities));
    assert_eq!((inside, no_new_privs), (Ok(()), Ok(true)));
    if confined.measures.contains(&Measure::Landlock) {
        assert_eq!(outside, Err(std::io::ErrorKind::PermissionDenied));
    } else {
        let lacking = confined.lacking.concat();
        assert!(lacking.starts_with("landlock does not confine oomtrace"), "{lacking}");
    }
}
