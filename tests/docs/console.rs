//! The terminal sessions of a page: its `console` blocks.
//!
//! ````text
//! ```console,terminal=server
//! $ cargo run --release --bin server -- --ephemeral
//! listening on http://127.0.0.1:9001
//! ```
//! ````
//!
//! | line | is |
//! |---|---|
//! | `$ COMMAND` | a command that the reader types; `\` at its end continues it on the next line |
//! | `> TEXT` | a line of input for the program that runs |
//! | `^D`, `^C` | the end of its input, an interrupt |
//! | `...` | any number of lines that the page leaves out |
//! | any other | a line that the program prints on stdout |
//!
//! | after `console,` | means |
//! |---|---|
//! | nothing | the block ends with its program |
//! | `terminal=NAME` | the program keeps running; a later block of that name continues it |
//! | `by-kind` | only lines with the same first word (or JSON `event`) are in order |
//! | `exit=N` | the last command ends with exit code N instead of 0, and stderr is shown too |

use std::ops::Range;

/// The line that stands for any number of lines.
pub(super) const LEFT_OUT: &str = "...";

/// A fenced `console` block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The line of its fence, from 1.
    pub(super) line: usize,
    pub(super) terminal: Option<String>,
    pub(super) by_kind: bool,
    pub(super) exit: Option<i32>,
    pub(super) steps: Vec<Step>,
}

/// An action of the reader, and the output that follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) output: Vec<String>,
    /// Where the output is: indices of the page's lines, from 0.
    pub(super) output_lines: Range<usize>,
}

/// An action of the reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Run(String),
    Type(String),
    EndInput,
    Interrupt,
    /// No action: the block continues with the terminal's output.
    Watch,
}

/// All `console` blocks of a page, in order.
pub(super) fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
        let body: Vec<_> =
            lines.by_ref().take_while(|(_, line)| line.trim_end() != "```").collect();
        if info.split(',').next() == Some("console") {
            blocks.push(block(at, info, &body)?);
        }
    }
    Ok(blocks)
}

fn block(at: usize, info: &str, body: &[(usize, &str)]) -> Result<Block, String> {
    let line = at + 1;
    let mut block =
        Block { line, terminal: None, by_kind: false, exit: None, steps: steps(at + 1, body) };
    for attribute in info.split(',').skip(1) {
        match attribute.split_once('=') {
            Some(("terminal", name)) => block.terminal = Some(name.to_owned()),
            Some(("exit", code)) => {
                block.exit = Some(code.parse().map_err(|_| format!("line {line}: exit={code}"))?);
            }
            None if attribute == "by-kind" => block.by_kind = true,
            _ => return Err(format!("line {line}: unknown attribute `{attribute}`")),
        }
    }
    if block.by_kind
        && block.steps.iter().any(|step| step.output.iter().any(|line| line == LEFT_OUT))
    {
        return Err(format!("line {line}: by-kind needs every line"));
    }
    if block.terminal.is_some() && block.exit.is_some() {
        return Err(format!("line {line}: a program that runs on has no exit code to show"));
    }
    Ok(block)
}

fn steps(first: usize, body: &[(usize, &str)]) -> Vec<Step> {
    // A block that does not start with a command continues with its terminal's output.
    let goes_on = body.first().is_some_and(|(_, line)| !line.starts_with("$ "));
    let mut steps: Vec<_> = goes_on.then(|| Step::new(Action::Watch, first)).into_iter().collect();
    for (at, line) in body {
        match (action(line), steps.last_mut()) {
            (_, Some(step)) if step.is_continued() => step.continue_with(line),
            (Some(action), _) => steps.push(Step::new(action, at + 1)),
            (None, Some(step)) => step.show(line),
            (None, None) => unreachable!("the first line is a command, or there is a step before"),
        }
    }
    steps
}

fn action(line: &str) -> Option<Action> {
    match line {
        "^D" => Some(Action::EndInput),
        "^C" => Some(Action::Interrupt),
        _ => match line.split_once(' ') {
            Some(("$", command)) => Some(Action::Run(command.to_owned())),
            Some((">", text)) => Some(Action::Type(text.to_owned())),
            _ => None,
        },
    }
}

impl Step {
    fn new(action: Action, output_at: usize) -> Self {
        Self { action, output: Vec::new(), output_lines: output_at..output_at }
    }

    fn is_continued(&self) -> bool {
        matches!(&self.action, Action::Run(command) if command.ends_with('\\'))
    }

    fn continue_with(&mut self, line: &str) {
        if let Action::Run(command) = &mut self.action {
            command.push('\n');
            command.push_str(line);
            self.output_lines = self.output_lines.start + 1..self.output_lines.end + 1;
        }
    }

    fn show(&mut self, line: &str) {
        self.output.push(line.to_owned());
        self.output_lines.end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_the_readers_actions_and_the_output_of_each() {
        let page = "\
text
```console,terminal=feed,by-kind
$ cargo run \\
    --bin x
joined
> hello
posted
^D
```
```rust
$ not a command
```
";
        let [block] = &blocks(page).unwrap()[..] else { panic!("one block") };
        assert_eq!((block.line, block.terminal.as_deref(), block.by_kind), (2, Some("feed"), true));
        let steps: Vec<_> =
            block.steps.iter().map(|step| (&step.action, step.output.join("|"))).collect();
        assert_eq!(
            steps,
            [
                (&Action::Run("cargo run \\\n    --bin x".into()), "joined".into()),
                (&Action::Type("hello".into()), "posted".into()),
                (&Action::EndInput, String::new()),
            ]
        );
        assert_eq!(block.steps[1].output_lines, 6..7);
    }

    #[test]
    fn unplayable_blocks_are_refused() {
        assert!(blocks("```console,terminl=a\n```\n").unwrap_err().contains("terminl=a"));
        assert!(blocks("```console,by-kind\n...\n```\n").unwrap_err().contains("every line"));
    }
}
