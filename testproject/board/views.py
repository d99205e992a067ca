"""The board's pages: forms that post and redirect, all of it without any script."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from board.author import remember_author, remembered_author
from board.forms import ReplyForm, ThreadForm
from board.models import Post, Thread

THREADS_ON_A_PAGE = 10
POSTS_ON_A_PAGE = 25


class SeeOther(HttpResponseRedirect):
    """Where to look after a POST; reloading what comes then does not post again."""

    status_code = 303


@require_safe
def thread_list(request: HttpRequest) -> HttpResponse:
    """All threads, the newest first."""
    # An aggregate drops the model's own order.
    threads = Thread.objects.annotate(post_count=Count("posts")).order_by("-created", "-pk")
    page = Paginator(threads, THREADS_ON_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "board/thread_list.html", {"page": page})


@require_http_methods(["GET", "HEAD", "POST"])
def new_thread(request: HttpRequest) -> HttpResponse:
    """Start a thread with its first post."""
    form = ThreadForm(request.POST or None, initial={"author": remembered_author(request)})
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        with transaction.atomic():
            thread = Thread.objects.create(title=data["title"], author=data["author"])
            Post.objects.create(thread=thread, author=data["author"], text=data["text"])
        response = SeeOther(thread.get_absolute_url())
        remember_author(response, data["author"])
        return response
    return render(request, "board/new_thread.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
def thread_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a thread with its posts, the oldest first, and take a reply."""
    thread = get_object_or_404(Thread, pk=pk)
    form = ReplyForm(request.POST or None, initial={"author": remembered_author(request)})
    if request.method == "POST" and form.is_valid():
        author = form.cleaned_data["author"]
        post = thread.posts.create(author=author, text=form.cleaned_data["text"])
        last_page = Paginator(thread.posts.all(), POSTS_ON_A_PAGE).num_pages
        response = SeeOther(f"{thread.get_absolute_url()}?page={last_page}#post-{post.pk}")
        remember_author(response, author)
        return response
    page = Paginator(thread.posts.all(), POSTS_ON_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "board/thread.html", {"thread": thread, "page": page, "form": form})
