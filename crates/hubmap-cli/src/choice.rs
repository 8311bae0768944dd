//! Values of flags that are one of a list of names.

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, Error};

/// Parses a value by its [`FromStr`], and knows the names that it may have: for `--help`, for completions, and to name the
/// nearest of them where there is a slip.
pub fn choice<T: FromStr>(names: impl IntoIterator<Item = &'static str>) -> Choice<T> {
    Choice { names: PossibleValuesParser::new(names), value: PhantomData }
}

/// See [`choice`].
#[derive(Debug, Clone)]
pub struct Choice<T> {
    names: PossibleValuesParser,
    value: PhantomData<fn() -> T>,
}

impl<T: FromStr + Clone + Send + Sync + 'static> TypedValueParser for Choice<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, text: &OsStr) -> Result<T, Error> {
        // Names that are not listed, such as older ones, are taken too.
        if let Some(value) = text.to_str().and_then(|text| text.parse().ok()) {
            return Ok(value);
        }
        self.names.parse_ref(command, arg, text)?;
        Err(Error::new(clap::error::ErrorKind::InvalidValue).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.names.possible_values()
    }
}
