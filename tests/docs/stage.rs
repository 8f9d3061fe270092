//! Plays a page: types its commands and their input, and compares the output.
//!
//! bash plays each page in a directory of its own, with two stand-ins that a reader does not
//! notice: `cargo run --bin NAME` starts a binary that is built already, and servers listen on free
//! ports instead of the ones shown. Every program ends with its stage.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::TcpListener,
    ops::Range,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use regex::{Captures, Regex};

use super::{
    console::{self, Action, Block, LEFT_OUT, Step},
    pattern::regex,
    program::{PATIENCE, Program, mask},
};

/// In a rewrite the number of lines is unknown, so this much silence ends a step.
const QUIET: Duration = Duration::from_secs(2);

/// The port of clients and servers when the command does not set one.
const DEFAULT_PORT: &str = "9001";

/// The stand-in for cargo: `run [-q] [--release] --bin NAME [-- ARGUMENTS]` starts a built binary,
/// and `run -p quartet-NAME` the binary of that package.
const CARGO: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        run | -q | --quiet | --release) shift ;;
        --bin) name=$2; shift 2 ;;
        -p) name=${2#quartet-}; shift 2 ;;
        --) shift; break ;;
        *) echo "the stage does not know: cargo $*" >&2; exit 64 ;;
    esac
done
case "$name $*" in
    *--listen* | *--endpoint* | *--help* | tour*) ;;
    "server certs"* | "server log"* | "server token"*) ;;
    "server health"*) set -- "$@" --endpoint "http://127.0.0.1:$STAGE_PORT" ;;
    "server "*) set -- --listen "127.0.0.1:$STAGE_PORT" "$@" ;;
    *) set -- --endpoint "http://127.0.0.1:$STAGE_PORT" "$@" ;;
esac
exec "$STAGE_BINARIES/$name" "$@"
"#;

/// The place where a page is played.
pub(super) struct Stage {
    dir: tempfile::TempDir,
    binaries: PathBuf,
    /// The real port of each server, by the port that the page shows.
    ports: BTreeMap<String, String>,
    started: usize,
    /// The running programs by their terminal, in the order in which they were started.
    programs: Vec<(String, Program)>,
    /// What a rewrite puts into the page, and where.
    rewritten: Option<Vec<(Range<usize>, Vec<String>)>>,
}

/// A free port, below those of outgoing connections: a page may restart a server, and meanwhile a
/// connection of one of its clients might take the port.
fn free_port() -> String {
    let mut some = (0..1000).map(|_| fastrand::u16(20_000..30_000));
    let free = some.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.map_or("0".to_owned(), |port| port.to_string())
}

impl Stage {
    /// A stage for one page: an empty directory with a link to the repository's `tests`.
    pub(super) fn new(binaries: &Path) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let bin = dir.path().join("bin");
        fs::create_dir(&bin)?;
        fs::write(bin.join("cargo"), CARGO)?;
        fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755))?;
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), dir.path().join("tests"))?;
        let binaries = binaries.to_owned();
        Ok(Self {
            dir,
            binaries,
            ports: BTreeMap::from([(DEFAULT_PORT.to_owned(), free_port())]),
            started: 0,
            programs: Vec::new(),
            rewritten: None,
        })
    }

    /// Plays all blocks of a page and compares. The error names the line of the page and shows what
    /// was printed instead.
    pub(super) fn play(mut self, page: &str) -> Result<(), String> {
        self.play_blocks(page)?;
        self.close()
    }

    /// Plays all blocks of a page and returns the page with the real output. Output that differs
    /// only where it is masked stays as it was, and so does output with lines left out.
    pub(super) fn rewrite(mut self, page: &str) -> Result<String, String> {
        let mut lines: Vec<_> = page.lines().map(str::to_owned).collect();
        self.rewritten = Some(Vec::new());
        self.play_blocks(page)?;
        let rewritten = self.rewritten.take().unwrap_or_default();
        self.close()?;
        for (output_lines, output) in rewritten.into_iter().rev() {
            lines.splice(output_lines, output);
        }
        Ok(lines.join("\n") + "\n")
    }

    fn play_blocks(&mut self, page: &str) -> Result<(), String> {
        for block in console::blocks(page)? {
            self.play_block(&block).map_err(|drift| format!("line {}: {drift}", block.line))?;
        }
        Ok(())
    }

    fn play_block(&mut self, block: &Block) -> Result<(), String> {
        // The nameless terminal is that of blocks that wait for their program.
        let terminal = block.terminal.as_deref().unwrap_or_default();
        for (at, step) in block.steps.iter().enumerate() {
            self.act(terminal, block, step)?;
            if self.rewritten.is_none() || step.output.iter().any(|line| line == LEFT_OUT) {
                let printed = self.program(terminal)?.expect(&step.output, block.by_kind)?;
                self.learn_ports(&step.output, &printed);
            } else {
                let ends = block.terminal.is_none() && at + 1 == block.steps.len();
                let printed = self.program(terminal)?.read_all(if ends { PATIENCE } else { QUIET });
                self.learn_ports(&step.output, &printed);
                self.rewrite_output(step, &printed);
            }
        }
        match block.terminal {
            None => self.end(terminal, block.exit.unwrap_or(0)),
            Some(_) => Ok(()),
        }
    }

    fn rewrite_output(&mut self, step: &Step, printed: &[String]) {
        let masked = |lines: &[String]| lines.iter().map(|line| mask(line)).collect::<Vec<_>>();
        if masked(&step.output) != masked(printed) {
            let lines = printed.iter().map(|line| self.with_shown_ports(line)).collect();
            self.rewritten.get_or_insert_default().push((step.output_lines.clone(), lines));
        }
    }

    fn act(&mut self, terminal: &str, block: &Block, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Run(command) => {
                self.end(terminal, 0)?;
                let program = self.start(command, block.exit.is_some());
                let program = program.map_err(|error| format!("`{command}`: {error}"))?;
                self.programs.push((terminal.to_owned(), program));
            }
            Action::Type(text) => self.program(terminal)?.type_keys(&format!("{text}\n"))?,
            Action::EndInput => self.program(terminal)?.type_keys("\u{4}")?,
            Action::Interrupt => self.program(terminal)?.interrupt(),
            Action::Watch => {}
        }
        Ok(())
    }

    fn start(&mut self, command: &str, with_stderr: bool) -> io::Result<Program> {
        self.started += 1;
        let stderr = self.dir.path().join(format!("stderr-{}", self.started));
        let command = self.with_real_ports(command);
        let bin = self.dir.path().join("bin");
        let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.arg("-c")
            .arg(if with_stderr { format!("exec 2>&1\n{command}") } else { command })
            .current_dir(self.dir.path())
            .env("PATH", path)
            .env("STAGE_BINARIES", &self.binaries)
            .env("STAGE_PORT", self.real_port(DEFAULT_PORT))
            .env_remove("RUST_LOG");
        Program::start(bash, stderr)
    }

    fn program(&mut self, terminal: &str) -> Result<&mut Program, String> {
        let mut programs = self.programs.iter_mut();
        let found = programs.find(|(name, _)| name == terminal).map(|(_, program)| program);
        found.ok_or_else(|| format!("nothing runs in terminal `{terminal}`"))
    }

    /// Waits for the end of the program in a terminal, if there is one.
    fn end(&mut self, terminal: &str, exit: i32) -> Result<(), String> {
        match self.programs.iter().position(|(name, _)| name == terminal) {
            Some(at) => self.programs.remove(at).1.end(exit),
            None => Ok(()),
        }
    }

    /// Interrupts the remaining programs, the newest first, so that no client loses its server.
    fn close(mut self) -> Result<(), String> {
        while let Some((terminal, mut program)) = self.programs.pop() {
            program.interrupt();
            program.end(0).map_err(|drift| format!("at the end, in `{terminal}`: {drift}"))?;
        }
        Ok(())
    }

    /// Learns the real port of a server from its "listening on" line.
    fn learn_ports(&mut self, expected: &[String], printed: &[String]) {
        let port = |line: &String| {
            let says = |what| line.strip_prefix(what);
            let address = says("listening on http://")
                .or_else(|| says("listening on https://"))
                .or_else(|| says("metrics on http://"))?;
            let (_, port) = address.trim_end_matches("/metrics").rsplit_once(':')?;
            Some(port.to_owned())
        };
        let pairs = expected.iter().filter_map(port).zip(printed.iter().filter_map(port));
        self.ports.extend(pairs);
    }

    fn real_port(&self, shown: &str) -> &str {
        self.ports.get(shown).map_or("0", String::as_str)
    }

    fn with_real_ports(&self, command: &str) -> String {
        static PORT: LazyLock<Regex> = LazyLock::new(|| regex(r"127\.0\.0\.1:([0-9]+)"));
        let real = |shown: &Captures<'_>| format!("127.0.0.1:{}", self.real_port(&shown[1]));
        PORT.replace_all(command, real).into_owned()
    }

    fn with_shown_ports(&self, line: &str) -> String {
        let address = |port| format!("127.0.0.1:{port}");
        let shown = |line: String, (shown, real)| line.replace(&address(real), &address(shown));
        self.ports.iter().fold(line.to_owned(), shown)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    fn play(scripts: &[(&str, &str)], page: &str) -> Result<(), String> {
        let (_binaries, stage) = stage(scripts);
        stage.play(page)
    }

    /// A stage whose binaries are the given shell scripts.
    fn stage(scripts: &[(&str, &str)]) -> (tempfile::TempDir, Stage) {
        let binaries = tempfile::tempdir().unwrap();
        for (name, script) in scripts {
            let path = binaries.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let stage = Stage::new(binaries.path()).unwrap();
        (binaries, stage)
    }

    /// Prints what a server prints, and runs until it is interrupted.
    const SERVER: (&str, &str) = (
        "server",
        "trap 'exit 0' INT\necho listening on http://127.0.0.1:4242\necho log >&2\n\
         while read -r line; do :; done",
    );
    const SAY: (&str, &str) = ("server-say", "echo \"$*\"; exit 3");
    const ECHO: (&str, &str) = (
        "echo",
        "while read -r line; do echo \"← receipt $line\"; echo \"← post $line\"; done; test -t 0",
    );

    #[test]
    fn a_correct_page_plays_to_its_end() {
        play(
            &[SERVER, SAY, ECHO],
            "
```console,terminal=server
$ cargo run --release --bin server
listening on http://127.0.0.1:9001
```
```console,terminal=other
$ cargo run --release --bin server -- --listen 127.0.0.1:9000
listening on http://127.0.0.1:9000
^C
```
```console,exit=3
$ cargo run --bin server-say -- one \\
    two >&2
--endpoint http://127.0.0.1:9001 one two
```
```console,terminal=echo,by-kind
$ cargo run --bin echo
> a
← post a
← receipt a
```
```console,terminal=echo
> b
← receipt b
...
^D
```
```console
$ echo took 12.5 ms at 3,000 posts/s
took 3 s at 1 posts/s
$ seq 5
1
...
4
5
```
",
        )
        .unwrap();
    }

    #[test]
    fn a_page_that_drifted_is_caught() {
        let pages = [
            ("$ echo one\ntwo", "instead of"),
            ("$ seq 2\n1", "more was printed"),
            ("$ seq 1\n1\n2", "ended before"),
            ("$ seq 3\n1\n...\n4", "ended before"),
            ("$ false", "exit status: 1"),
            ("$ cargo test", "exit status: 64"),
        ];
        for (block, why) in pages {
            let drift = play(&[], &format!("```console\n{block}\n```\n")).unwrap_err();
            assert!(drift.starts_with("line 1: ") && drift.contains(why), "{block}:\n{drift}");
        }
        let drift =
            play(&[], "```console,by-kind\n$ printf 'b 1\\nb 2\\na 1\\n'\na 1\nb 2\nb 1\n```\n");
        assert!(drift.unwrap_err().contains("other lines"), "the order within a kind counts");
    }

    #[test]
    fn unshown_output_of_a_background_program_is_caught() {
        let page = "```console,terminal=a\n$ cargo run --bin chatty\none\n```\n";
        let chatty = ("chatty", "trap 'exit 0' INT\nprintf 'one\\ntwo\\n'\nread -r line");
        let drift = play(&[chatty], page).unwrap_err();
        assert!(drift.contains("at the end, in `a`: more was printed"), "{drift}");
        // The program must exit by itself, however slow the machine is.
        let failing = ("chatty", "trap '' INT\necho one\nexit 1");
        let drift = play(&[failing], page).unwrap_err();
        assert!(drift.contains("exit status: 1"), "{drift}");
    }

    #[test]
    fn a_page_that_drifted_can_be_rewritten() {
        let page = "```console,terminal=a\n$ cargo run --bin server\n\
            listening on http://127.0.0.1:9001\n```\n\
                    ```console\n$ echo 127.0.0.1:9001\nold\n$ seq 2\n```\nend\n";
        let (_binaries, server) = stage(&[SERVER]);
        let rewritten = server.rewrite(page).unwrap();
        assert_eq!(
            rewritten,
            page.replace("old\n", "127.0.0.1:9001\n").replace("2\n```", "2\n1\n2\n```")
        );
        assert_eq!(play(&[SERVER], &rewritten), Ok(()));
    }

    #[test]
    fn no_program_outlives_its_stage() {
        let stubborn =
            ("stubborn", "trap '' INT TERM\necho $$\nwhile :; do read -r line || sleep 1; done");
        let page = "```console,terminal=a\n$ cargo run --bin stubborn\nnot a number\n```\n";
        let drift = play(&[stubborn], page).unwrap_err();
        let pid = drift.split("--- printed\n").nth(1).unwrap().lines().next().unwrap();
        assert!(pid.parse::<u32>().is_ok(), "{drift}");
        let alive = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap();
        assert!(!alive.success(), "process {pid} outlived its stage");
    }
}
