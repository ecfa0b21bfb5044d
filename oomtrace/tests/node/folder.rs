//! A captured node as a folder of files, and its kubelet as a server.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
};

use serde_json::Value;

/// A cgroup as it was captured, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured {
    /// `None` for no limit.
    pub(crate) limit: Option<u64>,
    pub(crate) current: u64,
}

/// A captured state.
pub(crate) struct State {
    folder: PathBuf,
    pub(crate) node: Value,
    pub(crate) summary: Value,
    pub(crate) pods: Value,
    pub(crate) cgroups: BTreeMap<String, Captured>,
}

pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

impl State {
    pub(crate) fn read(name: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = data("node-states").join(name);
        let json = |file: &str| -> Result<Value, Box<dyn std::error::Error>> {
            Ok(serde_json::from_slice(&fs::read(folder.join(file))?)?)
        };
        let text = fs::read_to_string(folder.join("cgroups.txt"))?;
        let cgroup = |line: &str| {
            let mut fields = line.split(' ');
            let path = fields.next()?.to_owned();
            let limit = fields.next()?.strip_prefix("memory.max=")?.parse().ok();
            Some((path, Captured { limit, current: fields.next()?.strip_prefix("current=")?.parse().ok()? }))
        };
        Ok(Self {
            node: json("node.json")?,
            summary: json("stats-summary.json")?,
            pods: json("pods.json")?,
            cgroups: text.lines().filter_map(cgroup).collect(),
            folder,
        })
    }

    pub(crate) fn config(&self) -> Result<String, std::io::Error> {
        fs::read_to_string(self.folder.join("kubelet.yaml"))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A size of the node's status, in bytes.
    pub(crate) fn status(&self, pointer: &str) -> Option<u64> {
        oomtrace::quantity::bytes(self.node.pointer(&format!("/status/{pointer}"))?.as_str()?)
    }

    /// `kubepods`: the tree of the two that pods are in.
    pub(crate) fn kubepods(&self) -> Option<(&str, Captured)> {
        let trees = ["/kubepods.slice", "/kubepods"].into_iter();
        trees.filter_map(|path| Some((path, *self.cgroups.get(path)?))).max_by_key(|(_, cgroup)| cgroup.current)
    }

    /// The kubelet's figures of all pods.
    pub(crate) fn of_pods(&self) -> Option<&Value> {
        let systems = self.summary.pointer("/node/systemContainers")?.as_array()?;
        systems.iter().find(|system| system["name"] == "pods")?.get("memory")
    }

    /// The cgroup of a pod of the summary.
    pub(crate) fn cgroup_of(&self, pod: &Value) -> Option<(&str, Captured)> {
        let uid = pod["podRef"]["uid"].as_str()?.replace('-', "_");
        let end = format!("pod{uid}.slice");
        self.cgroups.iter().find(|(path, _)| path.ends_with(&end)).map(|(path, cgroup)| (path.as_str(), *cgroup))
    }

    /// Writes the node's files below a folder: cgroups, `/proc`, the kubelet's configuration.
    pub(crate) fn write(&self, root: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let put = |path: &str, text: &str| -> Result<(), std::io::Error> {
            let path = root.join(path.trim_start_matches('/'));
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, text)
        };
        put("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n")?;
        put("/sys/fs/cgroup/memory.stat", &stat(&self.summary["node"]["memory"])?)?;
        for (path, cgroup) in &self.cgroups {
            let folder = format!("/sys/fs/cgroup{path}");
            let limit = cgroup.limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
            put(&format!("{folder}/memory.max"), &format!("{limit}\n"))?;
            put(&format!("{folder}/memory.current"), &format!("{}\n", cgroup.current))?;
            put(&format!("{folder}/memory.stat"), &format!("anon {}\nfile 0\ninactive_file 0\n", cgroup.current))?;
        }
        let pods = self.of_pods().ok_or("no pods in the summary")?;
        let (path, _) = self.kubepods().ok_or("no kubepods")?;
        put(&format!("/sys/fs/cgroup{path}/memory.stat"), &stat(pods)?)?;
        for pod in self.summary["pods"].as_array().into_iter().flatten() {
            if let Some((path, _)) = self.cgroup_of(pod) {
                put(&format!("/sys/fs/cgroup{path}/memory.stat"), &stat(&pod["memory"])?)?;
            }
        }
        let capacity = self.status("capacity/memory").ok_or("no capacity")? >> 10;
        put(
            "/proc/meminfo",
            &format!("MemTotal: {capacity} kB\nMemFree: 9 kB\nMemAvailable: 9 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"),
        )?;
        put("/proc/440/cmdline", "/usr/bin/kubelet\0--config=/lab/kubelet.yaml\0")?;
        put("/lab/kubelet.yaml", &self.config()?)?;
        put("/proc/sys/vm/overcommit_memory", "1\n")?;
        put("/proc/sys/vm/panic_on_oom", "0\n")?;
        Ok(())
    }

    /// Its kubelet's read-only port: the address.
    pub(crate) fn kubelet(&self) -> Result<String, std::io::Error> {
        let answers = [("/pods", self.pods.to_string()), ("/stats/summary", self.summary.to_string())];
        serve(answers.map(|(path, body)| (path.to_owned(), body)).to_vec())
    }
}

/// `memory.stat` that gives the use and the working set that the kubelet reported.
fn stat(figures: &Value) -> Result<String, Box<dyn std::error::Error>> {
    let bytes = |name: &str| figures[name].as_u64().ok_or_else(|| format!("no {name}: {figures}"));
    let (usage, working_set, rss) = (bytes("usageBytes")?, bytes("workingSetBytes")?, bytes("rssBytes")?);
    Ok(format!("anon {rss}\nfile {}\ninactive_file {}\n", usage.saturating_sub(rss), usage - working_set))
}

/// A server with these answers; 404 to all else.
pub(crate) fn serve(answers: Vec<(String, String)>) -> Result<String, std::io::Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") && stream.read_line(&mut request).is_ok_and(|read| read > 0) {}
            let asked = request.split(' ').nth(1).unwrap_or_default();
            let found = answers.iter().find(|(path, _)| path == asked).map(|(_, body)| body.as_str());
            let (status, body) = found.map_or(("404 Not Found", "404 page not found"), |body| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.get_mut().write_all((head + body).as_bytes());
        }
    });
    Ok(format!("http://127.0.0.1:{port}"))
}
