# The pages of docs/ as a book by mdBook, a package of PyPI's with its binary, and the links in it.
# shellcheck shell=bash

book() {
    install_python
    "$venv/mdbook" build docs
    python3 integration-tests/peers/book_check.py book
}
