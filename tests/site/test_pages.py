"""The built site, page by page, in headless Chromium and without it."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.site.inspect_site import (
    PHONE,
    Home,
    broken_links,
    images_without_text,
    page_problems,
)


def test_every_internal_link_leads_somewhere(site: Path) -> None:
    problems = list(broken_links(site))
    assert not problems, "\n".join(problems)


def test_every_image_has_alternative_text(site: Path) -> None:
    problems = list(images_without_text(site))
    assert not problems, "\n".join(problems)


def test_every_notebook_can_be_downloaded(site: Path) -> None:
    root = site.parents[1]
    chapters = list(root.glob("notebooks/*.ipynb"))
    assert chapters
    for chapter in chapters:
        for folder in ("notebooks", "exercises", "solutions"):
            assert (site / folder / chapter.name).is_file()


def test_page_served(page: str, browser: Browser, served: Home) -> None:
    problems = page_problems(browser, served.address + page, served)
    assert not problems, "\n".join(problems)


def test_page_from_disk(page: str, browser: Browser, on_disk: Home) -> None:
    problems = page_problems(
        browser, on_disk.address + page, on_disk, axe=False
    )
    assert not problems, "\n".join(problems)


def test_front_door_opens_the_landing_page(
    browser: Browser, on_disk: Home
) -> None:
    with browser.new_page() as page:
        page.goto(on_disk.address + "index.html")
        page.wait_for_url("**/book/index.html")
        expect(page.get_by_role("heading", level=1)).to_contain_text(
            "Learning to Attend"
        )


def test_search_finds_english_and_chinese_from_disk(
    browser: Browser, on_disk: Home
) -> None:
    with browser.new_page() as page:
        for words in ("teacher forcing", "注意力"):
            page.goto(f"{on_disk.address}search.html?q={words}")
            result = page.locator(
                "#search-results a", has_text="Glossary"
            ).first
            expect(result).to_be_visible()


def test_keyboard_alone_searches_and_opens_folds(
    browser: Browser, on_disk: Home
) -> None:
    with browser.new_page() as page:
        page.goto(on_disk.address + "book/how-to-use.html")
        page.keyboard.press("Tab")
        expect(
            page.get_by_role("link", name="Skip to main content")
        ).to_be_focused()
        page.get_by_text("What happened?").focus()
        page.keyboard.press("Enter")
        expect(
            page.get_by_text("This is where the explanation is.")
        ).to_be_visible()
        page.keyboard.press("Control+k")
        page.keyboard.type("mask")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=mask")


def test_menu_opens_on_a_phone(browser: Browser, on_disk: Home) -> None:
    with browser.new_page(viewport=PHONE) as page:
        page.goto(on_disk.address + "book/notation.html")
        link = page.get_by_role("link", name="Glossary")
        expect(link).not_to_be_visible()
        page.locator("button.primary-toggle").click()
        expect(link).to_be_visible()


def test_dark_mode_is_kept(browser: Browser, served: Home) -> None:
    with browser.new_page(color_scheme="light") as page:
        page.goto(served.address + "book/notation.html")
        page.get_by_role("button", name="Color mode").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.goto(served.address + "book/claims.html")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
