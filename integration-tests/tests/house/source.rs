//! Source files of a library: where each stands, and what it imports.

use std::{collections::BTreeSet, fmt, fs, path};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item};

/// A module's path from the crate's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// First module of the path.
    pub(crate) fn folder(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The two modules side by side below which this path and another lie, if neither contains the other.
    pub(crate) fn siblings_towards(&self, other: &Self) -> Option<(Self, Self)> {
        let common = self.0.iter().zip(&other.0).take_while(|(own, theirs)| own == theirs).count();
        let is_module = |name: &String| name.starts_with(|first: char| first.is_lowercase());
        if common == 0 || self.0.len() <= common || !other.0.get(common).is_some_and(is_module) {
            return None;
        }
        Some((Self(self.0[..=common].to_vec()), Self(other.0[..=common].to_vec())))
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self(text.split("::").map(str::to_owned).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("::"))
    }
}

/// A file that is compiled into the library when it is used.
pub(crate) struct File {
    pub(crate) path: Path,
    pub(crate) imports: Vec<Path>,
    words: Vec<String>,
}

impl File {
    pub(crate) fn folder(&self) -> &str {
        self.path.folder()
    }

    pub(crate) fn name(&self) -> String {
        format!("{}.rs", self.path.0.join("/"))
    }

    /// True if the file names a path, such as `Instant::now`.
    pub(crate) fn names(&self, path: &str) -> bool {
        let spaced = path.replace("::", " : : ");
        let words: Vec<&str> = spaced.split(' ').collect();
        self.words.windows(words.len()).any(|window| window == words)
    }
}

/// Files of a library but `lib.rs` and its tests.
pub(crate) struct Library {
    pub(crate) name: &'static str,
    pub(crate) files: Vec<File>,
}

impl Library {
    pub(crate) fn read(name: &'static str) -> Self {
        let root = path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut files = Vec::new();
        let modules = modules_of(&parse(&fs::read_to_string(root.join("lib.rs")).expect("the library has a face")));
        for module in modules {
            read_module(&root, &Path(vec![module]), &mut files);
        }
        Self { name, files }
    }
}

fn read_module(root: &path::Path, path: &Path, files: &mut Vec<File>) {
    let file = root.join(path.0.join("/")).with_extension("rs");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let items = parse(&text);
    for child in modules_of(&items) {
        read_module(root, &Path([path.0.clone(), vec![child]].concat()), files);
    }
    let tokens = tokens_of(items);
    let mut words = Vec::new();
    collect_words(tokens.clone(), &mut words);
    files.push(File { path: path.clone(), imports: imports_in(path, tokens), words });
}

/// Imports of a file, by its path and text, from its own crate.
pub(crate) fn imports(path: &Path, text: &str) -> Vec<Path> {
    imports_in(path, tokens_of(parse(text)))
}

/// Items of a file but those for tests.
fn parse(text: &str) -> Vec<Item> {
    let file = syn::parse_file(text).expect("the file compiles");
    file.items.into_iter().filter(|item| !is_for_tests(attributes(item))).collect()
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.to_token_stream().to_string() == "# [cfg (test)]")
}

/// Names of the modules that have a file of their own.
fn modules_of(items: &[Item]) -> BTreeSet<String> {
    let names = items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() => Some(module.ident.to_string()),
        _ => None,
    });
    names.collect()
}

fn tokens_of(items: Vec<Item>) -> TokenStream {
    items.into_iter().map(ToTokens::into_token_stream).collect()
}

fn collect_words(tokens: TokenStream, words: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_words(group.stream(), words),
            TokenTree::Literal(_) => {}
            word => words.push(word.to_string()),
        }
    }
}

fn imports_in(path: &Path, tokens: TokenStream) -> Vec<Path> {
    let mut imports = Vec::new();
    find_imports(path, &tokens.into_iter().collect::<Vec<_>>(), &mut imports);
    imports
}

fn find_imports(path: &Path, tokens: &[TokenTree], imports: &mut Vec<Path>) {
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        rest = match token {
            TokenTree::Ident(word) if word == "crate" => read_path(Vec::new(), after, imports),
            TokenTree::Ident(word) if word == "super" => read_path(path.0[..path.0.len() - 1].to_vec(), after, imports),
            TokenTree::Group(group) => {
                find_imports(path, &group.stream().into_iter().collect::<Vec<_>>(), imports);
                after
            }
            _ => after,
        };
    }
}

/// Reads what follows `crate` or `super`, and returns the tokens after it.
fn read_path<'a>(mut at: Vec<String>, mut tokens: &'a [TokenTree], imports: &mut Vec<Path>) -> &'a [TokenTree] {
    let mut is_path = false;
    while let [TokenTree::Punct(first), TokenTree::Punct(second), next, after @ ..] = tokens
        && first.as_char() == ':'
        && second.as_char() == ':'
    {
        is_path = true;
        tokens = after;
        match next {
            TokenTree::Ident(word) if word == "super" => drop(at.pop()),
            TokenTree::Ident(word) => at.push(word.to_string()),
            TokenTree::Group(group) => {
                read_group(&at, &group.stream().into_iter().collect::<Vec<_>>(), imports);
                return tokens;
            }
            _ => return tokens,
        }
    }
    if is_path {
        imports.push(Path(at));
    }
    tokens
}

/// Reads the members of `{a, b::{c, d}}`.
fn read_group(at: &[String], tokens: &[TokenTree], imports: &mut Vec<Path>) {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',');
    for member in tokens.split(is_comma).filter(|member| !member.is_empty()) {
        match member {
            [TokenTree::Ident(word), after @ ..] => {
                let at = [at, &[word.to_string()]].concat();
                if after.len() < 3 {
                    imports.push(Path(at));
                } else {
                    read_path(at, after, imports);
                }
            }
            other => panic!("an import that cannot be read: {other:?}"),
        }
    }
}
