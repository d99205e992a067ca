"""JSON for load tests: write, and ask whether it can be read back.

Reachable with ``LOAD_TEST_API=1`` alone, because it takes posts without CSRF protection.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from board.forms import ReplyForm, ThreadForm
from board.models import Post, Thread


@csrf_exempt
@require_POST
def create_thread(request: HttpRequest) -> JsonResponse:
    """Start a thread: ``{"title": ..., "author": ..., "text": ...}`` gives ``{"id": ...}``."""
    form = ThreadForm(_json(request))
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    data = form.cleaned_data
    thread = Thread.objects.create(title=data["title"], author=data["author"])
    thread.posts.create(author=data["author"], text=data["text"])
    return JsonResponse({"id": thread.pk}, status=201)


@csrf_exempt
@require_POST
def create_post(request: HttpRequest) -> JsonResponse:
    """Write a post: ``{"thread": id, "author": ..., "text": ...}`` gives ``{"id": ...}``."""
    data = _json(request)
    form = ReplyForm(data)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    thread_pk = data.get("thread")
    if not isinstance(thread_pk, int):
        return JsonResponse({"errors": {"thread": ["A thread's id is needed."]}}, status=400)
    thread = get_object_or_404(Thread, pk=thread_pk)
    post = thread.posts.create(author=form.cleaned_data["author"], text=form.cleaned_data["text"])
    return JsonResponse({"id": post.pk}, status=201)


@require_safe
def post(request: HttpRequest, pk: int) -> JsonResponse:
    """Return one post; 404 where the database that was asked has not seen it."""
    return _post_response(get_object_or_404(Post, pk=pk))


@require_safe
def latest_post(request: HttpRequest) -> JsonResponse:
    """Return the newest post of ``?author=``; 404 where there is none."""
    found = Post.objects.filter(author=request.GET.get("author", "")).order_by("-pk").first()
    if found is None:
        raise Http404("No post of this author.")
    return _post_response(found)


def _post_response(found: Post) -> JsonResponse:
    return JsonResponse(
        {"id": found.pk, "thread": found.thread_id, "author": found.author, "text": found.text}
    )


def _json(request: HttpRequest) -> dict[str, Any]:
    try:
        data = json.loads(request.body)
    except ValueError as error:
        raise BadRequest("The body is not JSON.") from error
    if not isinstance(data, dict):
        raise BadRequest("The body is not a JSON object.")
    return data
