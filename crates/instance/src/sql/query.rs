//! A statement that is put together: text, with its parameters numbered as they come.

use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, Arguments as _, AssertSqlSafe, Encode, Executor, Type};

use crate::{InstanceError, Result};

/// How many values of a list go into one statement: SQLite takes at most 32,766, PostgreSQL 65,535.
pub(crate) const CHUNK: usize = 500;

/// A statement with its parameters. Texts come from the program; whatever comes from outside is bound.
#[derive(Default)]
pub(crate) struct Sql {
    text: String,
    arguments: AnyArguments,
    bound: usize,
    failed: Option<String>,
}

impl Sql {
    /// Begins with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Adds text of the program's own.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a parameter: `$1`, `$2`…
    pub(crate) fn bind<'t>(&mut self, value: impl Encode<'t, Any> + Type<Any>) -> &mut Self {
        self.bound += 1;
        if let Err(error) = self.arguments.add(value) {
            self.failed = Some(error.to_string());
        }
        let _ = write!(self.text, "${}", self.bound);
        self
    }

    /// Adds `($1, $2, …)`; of nothing, a list that holds nothing.
    pub(crate) fn bind_list<'t, T: Encode<'t, Any> + Type<Any>>(
        &mut self,
        values: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.push("(");
        let mut empty = true;
        for value in values {
            if !empty {
                self.push(", ");
            }
            empty = false;
            self.bind(value);
        }
        self.push(if empty { "NULL)" } else { ")" })
    }

    /// Every row.
    pub(crate) async fn all<'c>(self, db: impl Executor<'c, Database = Any>) -> Result<Vec<AnyRow>> {
        Ok(self.ready()?.fetch_all(db).await?)
    }

    /// The first row, where there is one.
    pub(crate) async fn optional<'c>(self, db: impl Executor<'c, Database = Any>) -> Result<Option<AnyRow>> {
        Ok(self.ready()?.fetch_optional(db).await?)
    }

    /// The first row, which is always there.
    pub(crate) async fn one<'c>(self, db: impl Executor<'c, Database = Any>) -> Result<AnyRow> {
        Ok(self.ready()?.fetch_one(db).await?)
    }

    /// Carries it out; answers how many rows it concerned.
    pub(crate) async fn execute<'c>(self, db: impl Executor<'c, Database = Any>) -> Result<u64> {
        Ok(self.ready()?.execute(db).await?.rows_affected())
    }

    fn ready(self) -> Result<sqlx::query::Query<'static, Any, AnyArguments>> {
        match self.failed {
            Some(error) => Err(InstanceError::Database(format!("a value cannot be bound: {error}"))),
            None => Ok(sqlx::query_with(AssertSqlSafe(self.text), self.arguments)),
        }
    }
}
