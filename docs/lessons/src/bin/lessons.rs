//! The runner of the lessons: shows one lesson, and checks its exercise each time it is saved.
#![allow(clippy::print_stdout)] // its output

use std::{
    env, fs, io,
    path::Path,
    process::{Command, ExitCode},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, SystemTime},
};

use clap::Parser;
use quartet_lessons::{
    lesson::{Lesson, root},
    progress::Progress,
};

/// How often the exercise's file is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Lessons that check themselves: mend a small program until its check passes.
///
/// Without an option, it shows the lesson and checks its exercise each time you save it.
#[derive(Debug, Parser)]
#[command(name = "lessons")]
struct Flags {
    /// The lesson. Default: the first that you have not passed.
    lesson: Option<usize>,
    /// List the lessons, and those that you have passed.
    #[arg(long, group = "action")]
    list: bool,
    /// Check the exercise once. Exit code 1: it does not pass yet.
    #[arg(long, group = "action")]
    once: bool,
    /// Show the next hint.
    #[arg(long, group = "action")]
    hint: bool,
    /// Show a program that passes.
    #[arg(long, group = "action")]
    reveal: bool,
}

fn main() -> io::Result<ExitCode> {
    let (flags, mut progress) = (Flags::parse(), Progress::load());
    if flags.list {
        list(&progress);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(lesson) = choose(flags.lesson, &progress) else {
        println!("There is no such lesson. `--list` shows all.");
        return Ok(ExitCode::from(2));
    };
    if flags.hint {
        hint(&lesson, &mut progress)?;
    } else if flags.reveal {
        println!("{}", fs::read_to_string(lesson.solution())?);
    } else if flags.once {
        let passed = check(&lesson, &mut progress)?;
        return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(1) });
    } else {
        watch(lesson, &mut progress)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The lesson of this number, or the first that is not passed, or the first of all.
fn choose(number: Option<usize>, progress: &Progress) -> Option<Lesson> {
    let lessons = Lesson::all();
    let open = || lessons.iter().find(|lesson| !progress.has_passed(lesson));
    match number {
        Some(number) => lessons.get(number.checked_sub(1)?).cloned(),
        None => open().or(lessons.first()).cloned(),
    }
}

fn list(progress: &Progress) {
    for lesson in Lesson::all() {
        println!("{} {}", if progress.has_passed(&lesson) { "✓" } else { " " }, lesson.name);
    }
}

/// Prints one more hint than last time; after the last, all again.
fn hint(lesson: &Lesson, progress: &mut Progress) -> io::Result<()> {
    let (hints, seen) = (lesson.hints()?, progress.hints(lesson));
    for (number, hint) in (1..=seen + 1).zip(&hints) {
        println!("Hint {number} of {}:\n{hint}\n", hints.len());
    }
    if seen >= hints.len() {
        println!("That was the last. `lessons {} --reveal` shows a solution.", lesson.number);
        return Ok(());
    }
    progress.show_hint(lesson)
}

/// Builds and checks the exercise. Returns whether it passes.
fn check(lesson: &Lesson, progress: &mut Progress) -> io::Result<bool> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--offline", "-p", "quartet-lessons", "--bin", "check-lesson"]);
    command.arg("--").arg(lesson.number.to_string()).current_dir(root());
    let passed = match command.status()?.code() {
        Some(0) => true,
        Some(1) => false,
        _ => {
            println!("\nThe exercise does not compile, or it panicked.");
            false
        }
    };
    if passed {
        println!("✓ Passed: {}", lesson.name);
        progress.pass(lesson)?;
    }
    Ok(passed)
}

/// Checks the exercise on every save, and obeys keys, until the learner quits.
fn watch(mut lesson: Lesson, progress: &mut Progress) -> io::Result<()> {
    let (keys, commands) = commands();
    let mut checked = None;
    loop {
        let saved = saved_at(&lesson.exercise());
        if checked != saved {
            checked = saved;
            show(&lesson, progress)?;
        }
        match commands.recv_timeout(POLL).as_deref() {
            Ok("h") => hint(&lesson, progress)?,
            Ok("l") => list(progress),
            Ok("n") => match choose(Some(lesson.number + 1), progress) {
                Some(next) => (lesson, checked) = (next, None),
                None => println!("That was the last lesson."),
            },
            Ok("q") => break,
            Ok("") => checked = None,
            Ok(_) => println!("{KEYS}"),
            // `keys` lives here, so the channel stays open when the input ends.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
    drop(keys);
    Ok(())
}

const KEYS: &str =
    "Enter: check again   h: hint   n: next lesson   l: list   q: quit (each with Enter)";

fn show(lesson: &Lesson, progress: &mut Progress) -> io::Result<()> {
    let shown = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    println!("\n── Lesson {} of {}: {}", lesson.number, Lesson::all().len(), lesson.name);
    println!("   read   docs/lessons/{}", shown(&lesson.page()));
    println!("   change docs/lessons/{}\n", shown(&lesson.exercise()));
    check(lesson, progress)?;
    println!("\n{KEYS}");
    Ok(())
}

/// When the file was last saved; `None` while an editor replaces it.
fn saved_at(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// The lines of the terminal, and a sender that keeps their channel open.
fn commands() -> (SyncSender<String>, Receiver<String>) {
    let (lines, commands) = sync_channel(1);
    let keys = lines.clone();
    // It ends with the process: a read of the terminal cannot be interrupted.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if lines.send(line.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    (keys, commands)
}
