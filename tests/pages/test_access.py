"""Who sees pages: sessions, where they lead, and what refuses those without one."""

import pytest
from yarl import URL

from rowlock.console.sign_in import COOKIE
from tests.pages.conftest import TOKEN
from tests.support.console import HTML, SAME, Visitor, text_of
from tests.support.types import Client

PAGES = ["/", "/orders", "/orders/1", "/orders/1/cancel", "/rail"]


@pytest.mark.parametrize("path", PAGES)
async def test_page__without_a_session__leads_to_sign_in(console: Client, path: str) -> None:
    response = await console.get(path, headers=HTML, allow_redirects=False)
    assert response.status == 303
    onward = "" if path == "/" else f"?next={path}"
    assert response.headers["Location"].endswith(f"/sign-in{onward}")


async def test_anything_else__without_a_session__401(console: Client) -> None:
    for method, path in (("GET", "/orders"), ("POST", "/orders/1/cancel"), ("GET", "/nothing")):
        response = await console.request(method, path, headers=SAME)
        assert (response.status, (await response.json())["error"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("given", "leads_to"),
    [
        ("/orders?status=pending", "/orders?status=pending"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
async def test_sign_in__next__only_paths_of_the_console(
    console: Client, given: str, leads_to: str
) -> None:
    visitor = Visitor(console, COOKIE)
    fields = {"name": "ada", "token": TOKEN, "next": given}
    response = await visitor.post("/sign-in", fields)
    assert response.headers["Location"] == str(console.make_url("")).rstrip("/") + leads_to


async def test_session__its_cookie__strict_and_unreadable(console: Client) -> None:
    visitor = Visitor(console, COOKIE)
    response = await visitor.post("/sign-in", {"name": "ada", "token": TOKEN})
    [line] = response.headers.getall("Set-Cookie")
    assert line.startswith("__Host-rowlock-console=")
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=43200"):
        assert attribute in line
    assert "ada" not in line
    assert TOKEN not in line


async def test_session__a_forged_cookie__leads_to_sign_in(console: Client) -> None:
    for cookie in ("x", "gAAAA", "9" * 5000):
        headers = HTML | {"Cookie": f"{COOKIE}={cookie}"}
        response = await console.get("/orders", headers=headers, allow_redirects=False)
        assert response.status == 303


async def test_sign_in__a_wrong_token__says_so_and_opens_nothing(console: Client) -> None:
    visitor = Visitor(console, COOKIE)
    response = await visitor.post("/sign-in", {"name": "ada", "token": "guess"})
    assert (response.status, visitor.is_signed_in) == (403, False)
    page = await response.text()
    assert "This is not a token of the console" in page
    assert "guess" not in page


async def test_sign_in__many_tries__429_even_with_the_token(console: Client) -> None:
    visitor = Visitor(console, COOKIE)
    for _ in range(10):
        assert (await visitor.post("/sign-in", {"name": "a", "token": "guess"})).status == 403
    response = await visitor.post("/sign-in", {"name": "a", "token": TOKEN})
    assert (response.status, visitor.is_signed_in) == (429, False)
    assert response.headers["Retry-After"] == "60"


async def test_sign_in__nothing_entered__says_what_is_missing(console: Client) -> None:
    response = await Visitor(console, COOKIE).post("/sign-in", {"name": " ", "token": ""})
    page = await response.text()
    assert response.status == 400
    assert "Enter a name." in page
    assert "Enter the console&#39;s token." in page


async def test_sign_in__plain_http_elsewhere__says_why_it_does_not_work(console: Client) -> None:
    response = await console.get("/sign-in", headers=HTML | {"Host": "console.example:4001"})
    page = text_of(await response.text())
    assert "Signing in does not work at http://console.example:4001" in page


@pytest.mark.parametrize("name", ["ada\u200b", "\u202eada", "a\ufeffda"])
async def test_sign_in__a_name_that_looks_like_another__refused(console: Client, name: str) -> None:
    visitor = Visitor(console, COOKIE)
    response = await visitor.post("/sign-in", {"name": name, "token": TOKEN})
    assert (response.status, visitor.is_signed_in) == (400, False)
    assert "invisible" in await response.text()


async def test_cookie__of_another_name__is_nothing(operator: Visitor) -> None:
    for name in ("__Host-rowlock-notice", "__Host-rowlock-other"):
        operator.cookies[name] = operator.cookies[COOKIE]
    assert "Orders" in await operator.page("/orders")


async def test_form__after_the_session_has_ended__says_so(console: Client) -> None:
    response = await Visitor(console, COOKIE).post("/orders/1/cancel", {"key": "x"})
    page = text_of(await response.text())
    assert response.status == 401
    assert "Nothing was done: your session has ended. Sign in, then do it again." in page


async def test_sign_out__then__no_session(operator: Visitor) -> None:
    page = await operator.follow(await operator.post("/sign-out", {}))
    assert "You have signed out." in page
    assert not operator.is_signed_in


async def test_page__a_link_of_another_site__goes_on_by_itself(console: Client) -> None:
    headers = HTML | {"Sec-Fetch-Site": "cross-site"}
    response = await console.get("/orders?status=pending", headers=headers, allow_redirects=False)
    page = await response.text()
    assert (response.status, 'http-equiv="refresh"' in page) == (200, True)
    assert 'href="/orders?status=pending"' in page


async def test_page__a_link_of_another_site_and_another_cookie__goes_on(console: Client) -> None:
    headers = HTML | {"Sec-Fetch-Site": "cross-site", "Cookie": "theme=dark"}
    response = await console.get("/orders", headers=headers, allow_redirects=False)
    assert response.status == 200


async def test_page__a_link_that_looks_like_another_server__leads_home(console: Client) -> None:
    url = URL(f"{console.make_url('/')}/evil.example/", encoded=True)
    headers = HTML | {"Sec-Fetch-Site": "cross-site"}
    response = await console.session.get(url, headers=headers, allow_redirects=False)
    assert 'href="/"' in await response.text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
async def test_form__not_of_our_own_page__refused(
    operator: Visitor, headers: dict[str, str]
) -> None:
    for path in ("/orders/1/cancel", "/sign-in", "/sign-out"):
        response = await operator.post(path, {"key": "x"}, headers)
        assert response.status == 403
        page = await response.text()
        assert "cross_site_request" in page
        assert "ask an operator" not in page


async def test_form__of_an_older_browser__taken_by_its_origin(operator: Visitor) -> None:
    origin = str(operator.client.make_url("")).rstrip("/")
    response = await operator.post("/sign-out", {}, {"Origin": origin})
    assert response.status == 303


async def test_viewer__an_action__refused_by_a_page_and_shown_no_button(viewer: Visitor) -> None:
    response = await viewer.post("/orders/1/cancel", {})
    assert response.status == 403
    assert "a viewer can&#39;t change anything" in await response.text()


async def test_headers__any_page__a_strict_policy_and_no_inline_styles(operator: Visitor) -> None:
    for path, status in (("/", 200), ("/orders", 200), ("/nothing", 404), ("/sign-in", 200)):
        response = await operator.get(path)
        page = await response.text()
        assert response.status == status, page
        policy = response.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"):
            assert part in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "no-store"
        assert " style=" not in page
        assert "<style" not in page
        assert "<script>" not in page


async def test_cookie__on_the_json_api__opens_nothing(operator: Visitor) -> None:
    cookie = f"{COOKIE}={operator.cookies[COOKIE]}"
    response = await operator.client.get("/metrics", headers={"Cookie": cookie})
    assert response.status == 401


async def test_bearer_token__on_a_page__opens_nothing(console: Client) -> None:
    response = await console.get("/orders", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status == 401


async def test_live_part__its_session_has_ended__the_page_is_loaded_again(console: Client) -> None:
    # As htmx asks for it: it accepts anything.
    response = await console.get("/rail", headers={"HX-Request": "true", "Accept": "*/*"})
    assert response.status == 401
    assert response.headers["HX-Refresh"] == "true"
