//! What may be written: one description that the decoder, the JSON schema and the reference page all read.
//!
//! A type says what it looks like in YAML by [`Decode`](super::decode::Decode); [`record!`] and [`choice!`] write that down as a table of
//! keys, with the sentence of the reference page and the default beside each.

/// What may stand in a place.
#[derive(Clone)]
pub enum Shape {
    /// A scalar.
    Scalar(ScalarShape),
    /// One of a few words, each with its meaning.
    Words(Vec<(&'static str, &'static str)>),
    /// A list of these.
    List(fn() -> Shape),
    /// A map from names of the user's own to these.
    Map(fn() -> Shape),
    /// A map of known keys.
    Keys(MapShape),
    /// Any of these; they differ in kind, so that a decoder knows which is meant.
    Either(Vec<Shape>),
    /// A shape with a name of its own, a heading in the reference; the indirection lets shapes contain themselves.
    Named(&'static str, fn() -> Shape),
    /// Anything; somebody else checks it.
    Any,
}

/// A scalar: what it is called, what is expected, and its JSON type.
#[derive(Clone)]
pub struct ScalarShape {
    /// With its article: `a duration`.
    pub noun: &'static str,
    /// With an example: `a duration with a unit, such as …`.
    pub expected: String,
    /// `string`, `integer`, `number` or `boolean`.
    pub json: &'static str,
}

/// A map of known keys: fields that stand side by side, and at most one group of which exactly one is given.
#[derive(Clone, Default)]
pub struct MapShape {
    /// What it is, in a sentence or more.
    pub about: &'static str,
    /// The keys that stand side by side.
    pub fields: Vec<Field>,
    /// What the group chooses, with its article: `a fault`.
    pub choice: &'static str,
    /// Keys of which exactly one is given.
    pub options: Vec<Field>,
    /// Of the options, those that may be written as a bare word.
    pub words: Vec<(&'static str, &'static str)>,
}

/// One key.
#[derive(Clone)]
pub struct Field {
    /// As written.
    pub key: &'static str,
    /// What it means, in a sentence or more.
    pub about: &'static str,
    /// What may stand under it.
    pub shape: fn() -> Shape,
    /// Whether it must be given.
    pub required: bool,
    /// What stands there if it is not given, as it would be written.
    pub default: Option<&'static str>,
}

impl MapShape {
    /// The keys that `keys` tells.
    pub fn of(keys: fn(&mut MapShape)) -> MapShape {
        let mut shape = MapShape::default();
        keys(&mut shape);
        shape
    }

    /// Every key, those of the choice last.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.fields.iter().chain(&self.options).map(|field| field.key)
    }
}

/// Joins the lines of a doc comment as rustdoc hands them over, each with a space in front.
macro_rules! about {
    ($first:literal $($line:literal)*) => {
        concat!($first, $("\n", $line),*).trim_ascii()
    };
}

/// The key of a field: its name, or what stands behind `as`.
macro_rules! key {
    ($field:ident) => {
        stringify!($field).trim_start_matches("r#")
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Tells the keys of a table of fields to a [`MapShape`]. Tables that stand in front (`..name: Type`) go first.
macro_rules! tell_fields {
    ($shape:ident; $(.. $flat:ident : $flat_ty:ty,)*
     $($(#[doc = $about:literal])+ $field:ident $(as $key:literal)? : $ty:ty $(= $default:literal)?),* $(,)?) => {
        $(<$flat_ty as $crate::experiment::decode::Part>::keys($shape);)*
        $($shape.fields.push($crate::experiment::shape::Field {
            key: key!($field $($key)?),
            about: about!($($about)+),
            shape: <$ty as $crate::experiment::decode::Decode>::shape,
            required: tell_fields!(@required $ty $(, $default)?),
            default: tell_fields!(@default $($default)?),
        });)*
    };
    (@required $ty:ty, $default:literal) => { false };
    (@required $ty:ty) => { <$ty as $crate::experiment::decode::Decode>::when_absent().is_none() };
    (@default $default:literal) => { Some($default) };
    (@default) => { None };
}

/// Reads a table of fields into variables of their names; all are read before the first bad one ends the reading.
macro_rules! read_fields {
    ($map:ident; $(.. $flat:ident : $flat_ty:ty,)*
     $($(#[doc = $about:literal])+ $field:ident $(as $key:literal)? : $ty:ty $(= $default:literal)?),* $(,)?) => {
        $(let $flat = <$flat_ty as $crate::experiment::decode::Part>::read($map);)*
        $(let $field = read_fields!(@read $map, key!($field $($key)?), $ty $(, $default)?);)*
        $(let $flat = $flat?;)*
        $(let $field = $field?;)*
    };
    (loose $map:ident; $(.. $flat:ident : $flat_ty:ty,)*
     $($(#[doc = $about:literal])+ $field:ident $(as $key:literal)? : $ty:ty $(= $default:literal)?),* $(,)?) => {
        $(let $flat = <$flat_ty as $crate::experiment::decode::Part>::read($map);)*
        $(let $field = read_fields!(@read $map, key!($field $($key)?), $ty $(, $default)?);)*
    };
    (@read $map:ident, $key:expr, $ty:ty, $default:literal) => { $map.field_or::<$ty>($key, $default) };
    (@read $map:ident, $key:expr, $ty:ty) => { $map.field::<$ty>($key) };
}

/// A type that is written as a map of known keys.
///
/// ```text
/// record! {
///     /// What the map is.
///     Phases {
///         /// What the key means.
///         warmup: Span = "1s",          // with a default, as it would be written
///         hold as "for": Option<Span>,  // optional, under another key
///         baseline: Span,               // required
///     } => Phases { warmup, hold, baseline }
/// }
/// ```
///
/// With `=> loose`, every field is an option, none where it was wrong: what is sound can still be checked.
macro_rules! record {
    ($(#[doc = $about:literal])+ $name:ident { $($fields:tt)* } => loose $make:expr) => {
        record!(@part [$($about)+] $name { $($fields)* } map => { read_fields!(loose map; $($fields)*); Some($make) });
    };
    ($(#[doc = $about:literal])+ $name:ident { $($fields:tt)* } => $make:expr) => {
        record!(@part [$($about)+] $name { $($fields)* } map => { read_fields!(map; $($fields)*); Some($make) });
    };
    (@part [$($about:literal)+] $name:ident { $($fields:tt)* } $map:ident => $read:block) => {
        impl $crate::experiment::decode::Part for $name {
            fn keys(shape: &mut $crate::experiment::shape::MapShape) {
                if shape.about.is_empty() {
                    shape.about = about!($($about)+);
                }
                tell_fields!(shape; $($fields)*);
            }

            fn read($map: &mut $crate::experiment::decode::MapReader<'_>) -> Option<$name> $read
        }

        impl $crate::experiment::decode::Decode for $name {
            fn shape() -> $crate::experiment::shape::Shape {
                use $crate::experiment::{decode::Part, shape::{MapShape, Shape}};
                Shape::Named(stringify!($name), || Shape::Keys(MapShape::of(<$name as Part>::keys)))
            }

            fn decode(
                node: &$crate::experiment::tree::Node,
                mistakes: &mut $crate::experiment::mistake::Mistakes,
            ) -> Option<$name> {
                $crate::experiment::decode::part(node, mistakes)
            }
        }
    };
}

/// A type that is one of several, written as a map of exactly one key, or as the bare word where it has no settings.
///
/// ```text
/// choice! {
///     /// What is chosen.
///     Arrival, "an arrival" {
///         /// What this one is.
///         constant (rate: Rate) => Arrival::Constant(rate),       // a value
///         /// …
///         ramp { from: Rate, to: Rate } => Arrival::Ramp { from, to },  // a map of fields, as in `record!`
///         /// …
///         none () => Arrival::None,                               // a word
///     }
/// }
/// ```
macro_rules! choice {
    ($(#[doc = $about:literal])+ $name:ident, $noun:literal {
        $($(#[doc = $option_about:literal])+ $option:ident $payload:tt => $make:expr),* $(,)?
    }) => {
        impl $crate::experiment::decode::Part for $name {
            fn keys(shape: &mut $crate::experiment::shape::MapShape) {
                if shape.about.is_empty() {
                    shape.about = about!($($about)+);
                }
                shape.choice = $noun;
                $(choice!(@tell shape, key!($option), about!($($option_about)+), $payload);)*
            }

            fn read(map: &mut $crate::experiment::decode::MapReader<'_>) -> Option<$name> {
                let chosen = map.choose($noun, &[$(key!($option)),*])?;
                $(if chosen == key!($option) {
                    choice!(@read map, key!($option), $payload);
                    return Some($make);
                })*
                None
            }
        }

        impl $crate::experiment::decode::Decode for $name {
            fn shape() -> $crate::experiment::shape::Shape {
                use $crate::experiment::{decode::Part, shape::{MapShape, Shape}};
                Shape::Named(stringify!($name), || Shape::Keys(MapShape::of(<$name as Part>::keys)))
            }

            fn decode(
                node: &$crate::experiment::tree::Node,
                mistakes: &mut $crate::experiment::mistake::Mistakes,
            ) -> Option<$name> {
                $crate::experiment::decode::part(node, mistakes)
            }
        }
    };
    (@tell $shape:ident, $key:expr, $about:expr, ()) => {
        $shape.words.push(($key, $about));
        choice!(@option $shape, $key, $about, || Shape::Keys(MapShape::default()));
    };
    // As `()`, but it has to be written as a map: the word alone is none of this choice's.
    (@tell $shape:ident, $key:expr, $about:expr, {}) => {
        choice!(@option $shape, $key, $about, || Shape::Keys(MapShape::default()));
    };
    (@tell $shape:ident, $key:expr, $about:expr, ($value:ident : $ty:ty)) => {
        choice!(@option $shape, $key, $about, <$ty as $crate::experiment::decode::Decode>::shape);
    };
    (@tell $shape:ident, $key:expr, $about:expr, { $($fields:tt)* }) => {{
        fn keys(shape: &mut $crate::experiment::shape::MapShape) {
            tell_fields!(shape; $($fields)*);
        }
        choice!(@option $shape, $key, $about, || {
            // What the option says of itself, not what a table that it shares with others says.
            Shape::Keys(MapShape { about: $about, ..MapShape::of(keys) })
        });
    }};
    (@option $shape:ident, $key:expr, $about:expr, $inner:expr) => {{
        #[allow(unused_imports, reason = "only options without settings name these")]
        use $crate::experiment::shape::{MapShape, Shape};
        $shape.options.push($crate::experiment::shape::Field {
            key: $key, about: $about, shape: $inner, required: false, default: None,
        });
    }};
    (@read $map:ident, $key:expr, ()) => { $map.nothing($key)?; };
    (@read $map:ident, $key:expr, {}) => { $map.nothing($key)?; };
    (@read $map:ident, $key:expr, ($value:ident : $ty:ty)) => { let $value = $map.field::<$ty>($key)?; };
    (@read $map:ident, $key:expr, { $($fields:tt)* }) => {
        fn keys(shape: &mut $crate::experiment::shape::MapShape) {
            tell_fields!(shape; $($fields)*);
        }
        let mut inner = $map.enter($key, keys)?;
        let inner = &mut inner;
        read_fields!(inner; $($fields)*);
    };
}

/// A type that is one of a few words.
macro_rules! words {
    ($name:ident, $noun:literal { $($(#[doc = $about:literal])+ $word:literal => $make:expr),* $(,)? }) => {
        impl $crate::experiment::decode::Decode for $name {
            fn shape() -> $crate::experiment::shape::Shape {
                $crate::experiment::shape::Shape::Words(vec![$(($word, about!($($about)+))),*])
            }

            fn decode(
                node: &$crate::experiment::tree::Node,
                mistakes: &mut $crate::experiment::mistake::Mistakes,
            ) -> Option<$name> {
                let word = $crate::experiment::decode::word(node, $noun, &[$($word),*], mistakes)?;
                $(if word == $word {
                    return Some($make);
                })*
                None
            }
        }
    };
}

pub(crate) use {about, choice, key, read_fields, record, tell_fields, words};
