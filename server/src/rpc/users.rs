//! The User service: names and other data of users, read once at the start.

use std::{collections::HashMap, path::Path};

use prost::Message as _;
use quartet::{
    limits::{AUTHOR_CHARS, PAGE_BYTES},
    reason,
    user::v1::{
        GetUserRequest, GetUserResponse, ListUsersRequest, ListUsersResponse, UserMessage,
        user_service_server::UserService,
    },
    v1::user::user_server::User,
};
use serde::Deserialize;
use tonic::{Code, Request, Response, Status};

use crate::{error, validate};

/// The users, in the order of their file.
#[derive(Debug, Clone)]
pub struct Users {
    users: Vec<UserMessage>,
    by_id: HashMap<String, usize>,
}

/// Why a user file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("cannot read the users of {path}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A line is not a user.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// The problem.
        what: String,
    },
}

/// A line of a user file. `null` means that a field is absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserLine {
    user_id: String,
    name: String,
    phone_number: Option<String>,
    age: Option<serde_json::Number>,
}

impl UserLine {
    fn parse(line: &str) -> Result<Self, String> {
        // serde would take an array for the fields in their order.
        if !line.trim_start().starts_with('{') {
            return Err(r#"it must be a JSON object: {"user_id": "1", "name": "Ann"}"#.to_owned());
        }
        serde_json::from_str(line).map_err(|error| {
            // The line is known, and serde_json counts from the start of it.
            let message = error.to_string();
            let (column, place) = (error.column(), format!(" at line {}", error.line()));
            let problem = message.split(&place).next().unwrap_or_default();
            format!("{problem} at column {column}")
        })
    }

    fn age(&self) -> Result<i32, String> {
        let Some(age) = &self.age else { return Ok(0) };
        let years = age.as_i64().and_then(|years| i32::try_from(years).ok());
        years.ok_or_else(|| format!("age: must be a whole number of years, not {age}"))
    }
}

impl Users {
    /// Reads a file of JSON lines, `{"user_id", "name", "phone_number"?, "age"?}`. A byte order
    /// mark before the first one is skipped.
    pub fn from_file(path: &Path) -> Result<Self, UsersError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| UsersError::Read { path: name.clone(), source })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut users = Self { users: Vec::new(), by_id: HashMap::new() };
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            users.add_line(line).map_err(|what| UsersError::Line {
                path: name.clone(),
                line: index + 1,
                what,
            })?;
        }
        Ok(users)
    }

    /// The five sample users.
    pub fn sample() -> Self {
        let sample = [
            ("1", "Henry", "01012341234", 22),
            ("2", "Michael", "01098128734", 55),
            ("3", "Jessie", "01056785678", 15),
            ("4", "Max", "01099999999", 36),
            ("5", "Tony", "01012344321", 25),
        ];
        let mut users = Self { users: Vec::new(), by_id: HashMap::new() };
        for (user_id, name, phone_number, age) in sample {
            users.add(UserMessage {
                user_id: user_id.to_owned(),
                name: name.to_owned(),
                phone_number: phone_number.to_owned(),
                age,
            });
        }
        users
    }

    fn add_line(&mut self, line: &str) -> Result<(), String> {
        let user = UserLine::parse(line)?;
        let age = user.age()?;
        let UserLine { user_id, name, phone_number, .. } = user;
        let phone_number = phone_number.unwrap_or_default();
        validate::user_id(&user_id).map_err(|status| status.message().to_owned())?;
        if name.is_empty() || name.chars().count() > AUTHOR_CHARS {
            return Err(format!("name: must have 1 to {AUTHOR_CHARS} characters"));
        }
        if self.by_id.contains_key(&user_id) {
            return Err(format!("user_id {user_id} occurs twice"));
        }
        self.add(UserMessage { user_id, name, phone_number, age });
        Ok(())
    }

    fn add(&mut self, user: UserMessage) {
        self.by_id.insert(user.user_id.clone(), self.users.len());
        self.users.push(user);
    }

    fn get(&self, user_id: &str) -> Result<GetUserResponse, Status> {
        validate::user_id(user_id)?;
        let user = self.by_id.get(user_id).map(|index| self.users[*index].clone());
        let unknown = || {
            let message = format!("no user has the id {user_id}");
            error::status(Code::NotFound, reason::USER_NOT_FOUND, message)
        };
        Ok(GetUserResponse { user_message: Some(user.ok_or_else(unknown)?) })
    }

    fn list(&self) -> Result<ListUsersResponse, Status> {
        let response = ListUsersResponse { user_messages: self.users.clone() };
        if response.encoded_len() > PAGE_BYTES {
            let message = format!("{} users are over {PAGE_BYTES} bytes", self.users.len());
            return Err(error::status(
                Code::ResourceExhausted,
                reason::RESPONSE_TOO_LARGE,
                format!("{message}; ask for each with GetUser"),
            ));
        }
        Ok(response)
    }
}

impl UserService for Users {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, Status> {
        self.get(&request.get_ref().user_id).map(Response::new)
    }

    async fn list_users(
        &self,
        _: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        self.list().map(Response::new)
    }
}

/// The User service under the blog's name.
impl User for Users {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, Status> {
        self.get(&request.get_ref().user_id).map(Response::new)
    }

    async fn list_users(
        &self,
        _: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        self.list().map(Response::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_object_and_the_message_names_the_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (line, problem) in [
            (r#"["1","A","",1]"#, "it must be a JSON object"),
            (r#"{"user_id":"1"}"#, "missing field `name` at column 15"),
            (r#"{"user_id":"1","name":"A","age":2.5}"#, "age: must be a whole number"),
            (r#"{"user_id":"1","name":"A","age":99999999999}"#, "age: must be a whole number"),
            (r#"{"user_id":"1","name":"A","age":"x"}"#, "expected a JSON number"),
        ] {
            std::fs::write(file.path(), format!("\n{line}\n")).unwrap();
            let error = Users::from_file(file.path()).unwrap_err().to_string();
            assert!(error.contains(", line 2: ") && error.contains(problem), "{line}: {error}");
            for name in ["struct", "UserLine", "i32", "Option"] {
                assert!(!error.contains(name), "{line}: {error}");
            }
        }
    }

    #[test]
    fn null_is_an_absent_field() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = r#"{"user_id":"1","name":"A","phone_number":null,"age":null}"#;
        std::fs::write(file.path(), line).unwrap();
        let user = Users::from_file(file.path()).unwrap().get("1").unwrap().user_message.unwrap();
        assert_eq!((user.phone_number.as_str(), user.age), ("", 0));
    }

    #[test]
    fn a_byte_order_mark_before_the_first_user_is_skipped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}{\"user_id\":\"1\",\"name\":\"A\"}\n").unwrap();
        let users = Users::from_file(file.path()).unwrap();
        assert_eq!(users.get("1").unwrap().user_message.unwrap().name, "A");
    }
}
