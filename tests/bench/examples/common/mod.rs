//! A server in its own process, to be measured from outside.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// Starts `server` of the same profile with an empty log in memory, and returns its address.
pub(crate) fn start_server() -> Result<(Child, String), Box<dyn Error>> {
    let this = env::current_exe()?;
    let folder = this.parent().and_then(|examples| examples.parent()).ok_or("no target folder")?;
    let mut server = Command::new(folder.join("server"))
        .args(["--ephemeral", "--no-seed", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let endpoint = line.trim().strip_prefix("listening on ").ok_or("the server did not start")?;
    Ok((server, endpoint.to_owned()))
}

/// The resident memory of a process.
pub(crate) fn resident_kib(process: &Child) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}
